//! The name servers of the pod (resolv.conf(5)).
//!
//! Read once at the start: the kubelet writes the file before the first container starts and never again.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use contract::ports;

/// The file that names the servers cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}, where the pod's name servers stand", .file.display())]
pub struct ReadError {
    file: PathBuf,
    source: io::Error,
}

/// The servers in `file`, in its order; there may be none.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Path) -> Result<Vec<SocketAddr>, ReadError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(servers(&text)),
        Err(source) => Err(ReadError {
            file: file.to_owned(),
            source,
        }),
    }
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        let ip: IpAddr = address.parse().ok()?;
        Some((ip, ports::DOMAIN).into())
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_stand_behind_their_keyword() {
        let text = "# nameserver 192.0.2.9\nsearch shop.svc.cluster.local\nnameserver 10.96.0.10\n  nameserver\tfd00::a # second\nnameserver\nnameservers 1.1.1.1\noptions ndots:5\n";
        let expected: [SocketAddr; 2] = [
            "10.96.0.10:53".parse().unwrap(),
            "[fd00::a]:53".parse().unwrap(),
        ];
        assert_eq!(servers(text), expected);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
        fs::write(&file, "search local\n").unwrap();
        assert_eq!(read(&file).unwrap(), []);
    }
}
