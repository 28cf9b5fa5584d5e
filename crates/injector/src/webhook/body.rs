//! Reading a request's body within bounds.
//!
//! One body may have [`MAX_BYTES`], all bodies that are being read together [`Budget`], and reading one may take [`PATIENCE`]:
//! three limits that no peer can pass. A body that is too large is still read to its end within bounds and thrown away, because a
//! client that is refused while it writes may never see the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::time;

/// The most that one body may have: twice what the API server sends at most, and what Istio takes.
pub const MAX_BYTES: usize = 6 << 20;
/// How long one body may take: the longest `timeoutSeconds` of a webhook.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read for the sake of the client.
const MAX_DISCARDED: usize = 64 << 20;
/// How much all bodies that are being read may take together.
const MAX_TOGETHER: usize = 48 << 20;

/// What all bodies that are being read take together; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<AtomicUsize>);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// More than [`MAX_BYTES`].
    #[error("the body is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// Nothing.
    #[error("the body is empty, send an AdmissionReview")]
    Empty,
    /// Too slow.
    #[error("the body did not arrive within {} s", PATIENCE.as_secs())]
    Slow,
    /// The client went away or broke the protocol.
    #[error("the body could not be read to its end")]
    Broken,
    /// Other bodies take all of the memory there is for them.
    #[error("too many large requests at once, try again")]
    Busy,
}

/// The part of the budget that one body takes, given back when dropped.
struct Share {
    budget: Budget,
    n_bytes: usize,
}

/// Reads `body` to its end.
///
/// # Errors
/// When it is empty, too large, too slow, broken, or there is no room for it.
pub async fn read(headers: &HeaderMap, body: Body, budget: &Budget) -> Result<Bytes, BodyError> {
    let declared = declared_length(headers);
    // A client that waits for permission has sent nothing yet, and can be told at once.
    if declared.is_some_and(|length| length > MAX_BYTES as u64) && expects_continue(headers) {
        return Err(BodyError::TooLarge);
    }
    match time::timeout(PATIENCE, collect(declared, body, budget)).await {
        Ok(Ok(bytes)) if bytes.is_empty() => Err(BodyError::Empty),
        Ok(result) => result,
        Err(_) => Err(BodyError::Slow),
    }
}

async fn collect(
    declared: Option<u64>,
    mut body: Body,
    budget: &Budget,
) -> Result<Bytes, BodyError> {
    let mut share = Share {
        budget: budget.clone(),
        n_bytes: 0,
    };
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        if collected.len() + data.len() > MAX_BYTES {
            drop(collected);
            return Err(discard(data.len(), body).await);
        }
        if collected.is_empty() {
            let expected = declared.and_then(|length| usize::try_from(length).ok());
            // Bounded by what a frame has shown to be real: a declared length costs the client nothing.
            collected.reserve(expected.map_or(0, |length| length.min(64 << 10)));
        }
        share.take(data.len())?;
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// Reads the rest of a body that is too large, up to [`MAX_DISCARDED`].
async fn discard(mut n_discarded: usize, mut body: Body) -> BodyError {
    while n_discarded < MAX_DISCARDED {
        match body.frame().await {
            Some(Ok(frame)) => n_discarded += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => return BodyError::Broken,
            None => break,
        }
    }
    BodyError::TooLarge
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

// === impl Share ===

impl Share {
    fn take(&mut self, n_bytes: usize) -> Result<(), BodyError> {
        let before = self.budget.0.fetch_add(n_bytes, Ordering::Relaxed);
        self.n_bytes += n_bytes;
        if before + n_bytes > MAX_TOGETHER {
            return Err(BodyError::Busy);
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    /// Gives `n_frames` frames of 1 MiB, then ends or stays silent.
    struct Stream {
        n_frames: usize,
        ends: bool,
    }

    impl hyper::body::Body for Stream {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            if self.n_frames > 0 {
                self.n_frames -= 1;
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 1 << 20])))));
            }
            if self.ends {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    }

    async fn read_stream(n_frames: usize, ends: bool) -> Result<usize, BodyError> {
        let body = Body::new(Stream { n_frames, ends });
        read(&HeaderMap::new(), body, &Budget::default())
            .await
            .map(|bytes| bytes.len())
    }

    #[tokio::test(start_paused = true)]
    async fn size_and_time_are_bounded() {
        let table = [
            (0, true, Err(BodyError::Empty)),
            (6, true, Ok(MAX_BYTES)),
            (7, true, Err(BodyError::TooLarge)),
            (63, true, Err(BodyError::TooLarge)),
            (usize::MAX, true, Err(BodyError::TooLarge)),
            (1, false, Err(BodyError::Slow)),
            (7, false, Err(BodyError::Slow)),
        ];
        for (n_frames, ends, expected) in table {
            assert_eq!(
                read_stream(n_frames, ends).await,
                expected,
                "{n_frames} {ends}"
            );
        }
    }

    #[tokio::test]
    async fn a_client_that_asks_first_is_refused_before_it_sends() {
        let headers = HeaderMap::from_iter([
            (header::CONTENT_LENGTH, (MAX_BYTES + 1).into()),
            (header::EXPECT, "100-Continue".parse().unwrap()),
        ]);
        let body = Body::new(Stream {
            n_frames: 0,
            ends: false,
        });
        assert_eq!(
            read(&headers, body, &Budget::default()).await,
            Err(BodyError::TooLarge)
        );
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_it_back() {
        let budget = Budget::default();
        budget.0.store(MAX_TOGETHER - 1, Ordering::Relaxed);
        let body = || Body::new(Full::new(Bytes::from_static(b"xx")));
        let headers = HeaderMap::new();
        assert_eq!(read(&headers, body(), &budget).await, Err(BodyError::Busy));
        budget.0.store(0, Ordering::Relaxed);
        assert!(read(&headers, body(), &budget).await.is_ok());
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
