//! Where the lines of the access log go.
//!
//! `app` opens it at start, so that a wrong path is told at once, and lets the data plane's reader write to it on the housekeeping
//! thread. An error while writing costs the lines at hand and is logged once; the next lines are tried again, because a full disk or a
//! stuck pipe may come back.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    fs::OpenOptions,
    io::{AsyncWrite, stderr, stdout},
};
use tracing::{info, warn};

/// An open access log. Writing to it never fails.
pub struct LogFile {
    output: Pin<Box<dyn AsyncWrite + Send>>,
    is_failing: bool,
}

/// Why the access log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open the access log {path}, give --access-log-file (env ACCESS_LOG_FILE) a path that can be written"
)]
#[non_exhaustive]
pub struct OpenError {
    /// The file.
    pub path: String,
    /// What the kernel said.
    pub source: io::Error,
}

// === impl LogFile ===

impl LogFile {
    /// Opens `path` to append to it; it is made if it is not there.
    ///
    /// The process's own streams are written through their descriptors: opening their paths anew needs permissions that a
    /// container's user may not have.
    ///
    /// # Errors
    /// [`OpenError`] with what the kernel said.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        if path == Path::new("/dev/stdout") {
            return Ok(Self::new(stdout()));
        }
        if path == Path::new("/dev/stderr") {
            return Ok(Self::new(stderr()));
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .await;
        file.map(Self::new).map_err(|source| OpenError {
            path: path.display().to_string(),
            source,
        })
    }

    fn new(output: impl AsyncWrite + Send + 'static) -> Self {
        Self {
            output: Box::pin(output),
            is_failing: false,
        }
    }

    fn note<T>(&mut self, result: &io::Result<T>) {
        match result {
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                warn!(%error, "access log cannot be written, lines are lost");
            }
            Err(_) => {}
            Ok(_) if self.is_failing => {
                self.is_failing = false;
                info!("access log is written again");
            }
            Ok(_) => {}
        }
    }
}

impl AsyncWrite for LogFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        lines: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(self.output.as_mut().poll_write(cx, lines));
        // A file reports the failure of one write with the next.
        if result.is_err() {
            self.note(&result);
        }
        Poll::Ready(Ok(result.unwrap_or(lines.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(self.output.as_mut().poll_flush(cx));
        self.note(&result);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn an_output_that_fails_costs_lines_and_nothing_else() {
        let mut log = LogFile::open(Path::new("/dev/full")).await.unwrap();
        for _ in 0..3 {
            log.write_all(b"line\n").await.unwrap();
            log.flush().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_opened_is_named() {
        let path = Path::new("/nonexistent/access.log");
        let error = LogFile::open(path).await.err().unwrap();
        assert!(
            error.to_string().contains("/nonexistent/access.log"),
            "{error}"
        );
    }
}
