//! By what the control plane knows who asks: the pod's projected service account token.
//!
//! The kubelet replaces the file long before the token in it ends, so it is read for each call. The token is never shown: where it is put, it is
//! marked as sensitive.

use std::path::PathBuf;

use runtime::files::{self, ReadError, Source};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

/// Where the token is, and of which cluster it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    file: PathBuf,
    cluster: Option<MetadataValue<Ascii>>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    #[error("no token for the control plane, the pod's volume istio-token brings it")]
    Read(#[source] ReadError),
    /// The file holds something else.
    #[error("{} holds no token", file.display())]
    NoToken {
        /// The file.
        file: PathBuf,
    },
}

/// For messages about the file.
const FLAG: &str = "--token-file";
const AUTHORIZATION: &str = "authorization";
/// Where Istio's agents say which cluster's token it is, for a control plane of several.
const CLUSTER_ID: &str = "clusterid";
/// Far more than any token of Kubernetes has, and what fits into the header fields that servers accept.
const MAX_BYTES: usize = 12 << 10;

// === impl Token ===

impl Token {
    /// The token in `file`, of the cluster with this name.
    #[must_use]
    pub fn new(file: PathBuf, cluster: &str) -> Self {
        let cluster = cluster.parse().ok();
        Self { file, cluster }
    }

    /// Tells the server of `request` who asks, by the token of this moment.
    ///
    /// # Errors
    /// When there is none.
    pub fn authorize<M>(&self, request: &mut Request<M>) -> Result<(), TokenError> {
        let bearer = self.read()?;
        let metadata = request.metadata_mut();
        metadata.insert(AUTHORIZATION, bearer);
        if let Some(cluster) = &self.cluster {
            metadata.insert(CLUSTER_ID, cluster.clone());
        }
        Ok(())
    }

    fn read(&self) -> Result<MetadataValue<Ascii>, TokenError> {
        let source = Source {
            flag: FLAG,
            path: self.file.clone(),
        };
        let bytes = files::read(&source).map_err(TokenError::Read)?;
        let no_token = || TokenError::NoToken {
            file: self.file.clone(),
        };
        let token = bytes.trim_ascii();
        if token.is_empty() || token.len() > MAX_BYTES || !token.iter().all(u8::is_ascii_graphic) {
            return Err(no_token());
        }
        let text = str::from_utf8(token).map_err(|_| no_token())?;
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {text}").parse().map_err(|_| no_token())?;
        bearer.set_sensitive(true);
        Ok(bearer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_call_bears_the_token_of_its_moment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("istio-token");
        let token = Token::new(file.clone(), "Kubernetes");
        for text in ["first", "second\n"] {
            fs::write(&file, text).unwrap();
            let mut request = Request::new(());
            token.authorize(&mut request).unwrap();
            let metadata = request.metadata();
            let expected = format!("Bearer {}", text.trim());
            assert_eq!(metadata.get(AUTHORIZATION).unwrap(), &*expected);
            assert_eq!(metadata.get(CLUSTER_ID).unwrap(), "Kubernetes");
            let shown = format!("{request:?}");
            assert!(!shown.contains(text.trim()), "{shown}");
        }
    }

    #[test]
    fn what_is_no_token_is_named_with_its_file_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("istio-token");
        let token = Token::new(file.clone(), "");
        let long = "x".repeat(MAX_BYTES + 1);
        let missing = token.authorize(&mut Request::new(())).unwrap_err();
        assert!(matches!(missing, TokenError::Read(_)), "{missing}");
        for text in ["", " \n", "two words", "a\r\nb", "b\u{fc}cher", &long] {
            fs::write(&file, text).unwrap();
            let error = token.authorize(&mut Request::new(())).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{} holds no token", file.display())
            );
        }
    }
}
