//! Questions of the data plane to the picture, and its answers.

use std::{mem, time::Instant};

use super::Picture;
use crate::discovery::{
    demand::{Answers, Question},
    status::ResultLabels,
};

// === impl Picture ===

impl Picture {
    /// Takes a question of a worker.
    pub fn ask(&mut self, question: Question, now: Instant) {
        match question {
            Question::Used(addresses) => self.book.use_all(&addresses, now),
            Question::Who { settled, .. } if self.settings.wildcard => {
                if self.is_complete {
                    let _ = settled.send(());
                } else {
                    self.waiting.retain(|waiting| !waiting.is_closed());
                    self.waiting.push(settled);
                }
            }
            Question::Who { address, settled } => {
                if !self.book.ask(address, settled, &mut self.client, now) {
                    self.count_questions("refused", 1);
                }
            }
        }
    }

    /// Does what the questions at hand have made possible.
    pub fn answer(&mut self, now: Instant) {
        self.catch_up(now);
    }

    /// Tells the data plane what is settled, and whoever waits for it. Never before the mesh knows as much.
    pub(super) fn publish(&mut self, now: Instant) {
        if self.is_behind {
            return;
        }
        if self.settings.wildcard {
            if self.is_complete {
                self.publisher.publish(Answers::Every);
                let waiting = mem::take(&mut self.waiting);
                self.count_questions("answered", waiting.len() as u64);
                for waiting in waiting {
                    let _ = waiting.send(());
                }
            }
            return;
        }
        if let Some(settled) = self.book.settled() {
            self.publisher.publish(Answers::These(settled));
            self.save_later(now);
        }
        let (somebody, nobody) = self.book.release();
        self.count_questions("somebody", somebody);
        self.count_questions("nobody", nobody);
    }

    fn count_questions(&self, result: &'static str, n: u64) {
        if n > 0 {
            let questions = &self.status.metrics.questions;
            questions.get_or_create(&ResultLabels { result }).inc_by(n);
        }
    }
}
