//! Where the lines of the access log go.
//!
//! `app` opens it at start, so that a wrong path is told at once, and lets the data plane's reader write to it on the housekeeping
//! thread. An error while writing costs the lines at hand and is logged once; the next lines are tried again, because a full disk or a
//! stuck pipe may come back. A file that was moved away is left for a new one when SIGUSR1 asks for it, as by Envoy.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use runtime::error::chain;
use tokio::{
    fs::OpenOptions,
    io::{AsyncWrite, stderr, stdout},
};
use tracing::{info, warn};

use crate::data_plane::AccessLogOutput;

/// An open access log. Writing to it never fails.
pub struct LogFile {
    path: PathBuf,
    output: Writer,
    is_failing: bool,
}

type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Where lines go if no file is given and the log is switched on while the proxy runs.
pub const STDOUT: &str = "/dev/stdout";

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
        Ok(Self {
            output: open(path).await?,
            path: path.to_owned(),
            is_failing: false,
        })
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

impl AccessLogOutput for LogFile {
    async fn reopen(&mut self) {
        match open(&self.path).await {
            Ok(output) => {
                self.output = output;
                info!(file = %self.path.display(), "access log opened anew");
            }
            // Lines in the old file are better than none.
            Err(error) => {
                warn!(error = %chain(&error), "access log goes on in the file that was open");
            }
        }
    }
}

async fn open(path: &Path) -> Result<Writer, OpenError> {
    if path == Path::new(STDOUT) {
        return Ok(Box::pin(stdout()));
    }
    if path == Path::new("/dev/stderr") {
        return Ok(Box::pin(stderr()));
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .await;
    match file {
        Ok(file) => Ok(Box::pin(file)),
        Err(source) => Err(OpenError {
            path: path.display().to_string(),
            source,
        }),
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
    async fn a_file_that_was_moved_away_is_left_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut log = LogFile::open(&path).await.unwrap();
        let write = async |log: &mut LogFile, line: &[u8]| {
            log.write_all(line).await.unwrap();
            log.flush().await.unwrap();
        };
        write(&mut log, b"one\n").await;
        std::fs::rename(&path, &old).unwrap();
        write(&mut log, b"two\n").await;
        log.reopen().await;
        write(&mut log, b"three\n").await;
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        // Nowhere to go: the old file is better than nothing.
        folder.close().unwrap();
        log.reopen().await;
        write(&mut log, b"four\n").await;
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
