//! What was said of tokens a moment ago.
//!
//! A sidecar asks for a certificate and for discovery with the same token at once, and again when it has lost its connection; the
//! [`Authenticator`](super::Authenticator) asks here first, so that each token is reviewed once and those who ask meanwhile wait for
//! the same answer. An answer is believed for [`BELIEVED`], which is as long as the API server itself believes one, so a token that
//! is revoked is accepted no longer than twice that; only a hash of the token is kept.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures_util::future::{BoxFuture, Shared};
use rustls::crypto::{aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256, hash};
use tokio::time::Instant;

use super::{Caller, Refusal};

/// For how long an answer is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(10);
/// How many answers are kept: a mesh of this size may start within [`BELIEVED`] before any token is reviewed twice.
const MAX_ANSWERS: usize = 16_384;

/// An answer, or one that is on its way.
pub(super) type Answer = Shared<BoxFuture<'static, Result<Caller, Refusal>>>;

/// Reviews of the last seconds.
#[derive(Default)]
pub(super) struct Remembered {
    answers: HashMap<Key, Entry>,
    /// Every entry once, and some that have been replaced since.
    by_age: VecDeque<(Instant, Key)>,
}

/// SHA-256 of a token.
pub(super) type Key = [u8; 32];

struct Entry {
    since: Instant,
    answer: Answer,
}

/// What a token is remembered by; nothing if it cannot be hashed, then it is not remembered.
pub(super) fn key(token: &str) -> Option<Key> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    let hash: hash::Output = suite.common.hash_provider.hash(token.as_bytes());
    hash.as_ref().try_into().ok()
}

// === impl Remembered ===

impl Remembered {
    /// What is known of a token at `now`; an answer that is on its way may be waited for.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<Answer> {
        let entry = self.answers.get(key)?;
        let is_fresh = now.saturating_duration_since(entry.since) < BELIEVED;
        // That the API server was away a moment ago says nothing about now.
        let is_worth_it = !matches!(entry.answer.peek(), Some(Err(refusal)) if !refusal.is_final());
        (is_fresh && is_worth_it).then(|| entry.answer.clone())
    }

    /// Remembers an answer that was asked for at `now`, and forgets what is too old or too much.
    pub(super) fn insert(&mut self, key: Key, answer: Answer, now: Instant) {
        while let Some((since, oldest)) = self.by_age.front().copied() {
            let is_over = now.saturating_duration_since(since) >= BELIEVED;
            if !is_over && self.by_age.len() < MAX_ANSWERS {
                break;
            }
            self.by_age.pop_front();
            if self
                .answers
                .get(&oldest)
                .is_some_and(|entry| entry.since <= since)
            {
                self.answers.remove(&oldest);
            }
        }
        self.by_age.push_back((now, key));
        self.answers.insert(key, Entry { since: now, answer });
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use futures_util::FutureExt as _;

    use super::*;

    fn given(result: Result<Caller, Refusal>) -> Answer {
        let answer = future::ready(result).boxed().shared();
        assert!(answer.clone().now_or_never().is_some());
        answer
    }

    #[test]
    fn an_answer_is_believed_for_a_while() {
        let (mut remembered, now) = (Remembered::default(), Instant::now());
        let (one, other) = (key("one").unwrap(), key("other").unwrap());
        assert_ne!(one, other);
        remembered.insert(one, given(Err(Refusal::Audience)), now);
        assert!(remembered.find(&one, now + BELIEVED / 2).is_some());
        assert!(remembered.find(&one, now + BELIEVED).is_none());
        assert!(remembered.find(&other, now).is_none());
    }

    #[test]
    fn an_answer_that_is_on_its_way_is_waited_for() {
        let (mut remembered, now) = (Remembered::default(), Instant::now());
        let one = key("one").unwrap();
        remembered.insert(one, future::pending().boxed().shared(), now);
        assert!(remembered.find(&one, now).is_some());
    }

    #[test]
    fn trouble_of_the_moment_is_not_remembered() {
        let (mut remembered, now) = (Remembered::default(), Instant::now());
        let one = key("one").unwrap();
        remembered.insert(one, given(Err(Refusal::Busy)), now);
        assert!(remembered.find(&one, now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let (mut remembered, now) = (Remembered::default(), Instant::now());
        let key = |number: usize| key(&number.to_string()).unwrap();
        let n_tokens = MAX_ANSWERS + 10;
        for number in 0..n_tokens {
            remembered.insert(key(number), given(Err(Refusal::Audience)), now);
        }
        assert_eq!(remembered.answers.len(), MAX_ANSWERS);
        assert_eq!(remembered.by_age.len(), MAX_ANSWERS);
        assert!(remembered.find(&key(0), now).is_none());
        assert!(remembered.find(&key(n_tokens - 1), now).is_some());
        remembered.insert(key(0), given(Err(Refusal::Audience)), now + BELIEVED);
        assert_eq!(remembered.answers.len(), 1);
    }
}
