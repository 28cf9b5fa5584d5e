//! Where the data plane asks who is at an address.
//!
//! A worker that is to carry a connection to an address which the mesh does not know looks here first. What the control plane has
//! answered about, that it knows nobody there included, is [settled](Demand::is_settled), which takes no lock; about anything else the
//! worker asks by a channel, and the connection waits for a bounded time. Only what is settled may be carried as it is: an address that
//! nobody has answered about could be a pod's that takes nothing but mutual TLS. Whoever accepts that it is sent plain text all the same
//! can [say so](Demand::allowing_unanswered).

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::mesh::Mesh;

/// The data plane's end; clones share it.
#[derive(Clone, Debug)]
pub struct Demand {
    answers: Arc<ArcSwap<Answers>>,
    questions: mpsc::Sender<Question>,
    limit: Duration,
    allows_unanswered: bool,
}

/// The questions of all workers.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

/// Where the data plane is told what is settled.
#[derive(Debug)]
pub struct Publisher(Arc<ArcSwap<Answers>>);

/// What the control plane has answered about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answers {
    /// All addresses that there are.
    Every,
    /// These; an IPv4 address is never written as IPv6.
    These(HashSet<IpAddr>),
}

/// What a worker wants to be known.
#[derive(Debug)]
pub enum Question {
    /// Who is at this address?
    Who {
        /// The address, never IPv4 written as IPv6.
        address: IpAddr,
        /// Told as soon as it is settled; dropped if it will not be.
        settled: oneshot::Sender<()>,
    },
    /// These addresses have been in use since the last time.
    Used(Vec<IpAddr>),
}

/// Nobody has said who is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

/// Questions that may be waiting for the housekeeping thread; more come only if it does not keep up.
const MOST_QUESTIONS: usize = 4096;

/// The data plane's end, on which nobody waits longer than `limit`, and the two of whoever answers.
#[must_use]
pub fn demand(limit: Duration) -> (Demand, Questions, Publisher) {
    let answers = Arc::new(ArcSwap::from_pointee(Answers::These(HashSet::new())));
    let (sender, receiver) = mpsc::channel(MOST_QUESTIONS);
    let demand = Demand {
        answers: Arc::clone(&answers),
        questions: sender,
        limit,
        allows_unanswered: false,
    };
    (demand, Questions(receiver), Publisher(answers))
}

// === impl Demand ===

impl Demand {
    /// Connections to addresses that nobody answers about in time go on, as those do to addresses where nobody is.
    #[must_use]
    pub fn allowing_unanswered(mut self) -> Self {
        self.allows_unanswered = true;
        self
    }

    /// Whether what nobody answers about in time is allowed.
    #[must_use]
    pub fn allows_unanswered(&self) -> bool {
        self.allows_unanswered
    }

    /// Whether the control plane has answered about this address, so that the mesh knows all that there is to know of it.
    #[must_use]
    pub fn is_settled(&self, address: IpAddr) -> bool {
        match &**self.answers.load() {
            Answers::Every => true,
            Answers::These(addresses) => addresses.contains(&address.to_canonical()),
        }
    }

    /// Whether a connection to `destination` need not wait. An address that is known without having been asked for is asked for from
    /// now on, so that it stays known.
    #[must_use]
    pub fn is_at_hand(&self, mesh: &Mesh, destination: SocketAddr) -> bool {
        if self.is_settled(destination.ip()) {
            return true;
        }
        let is_known = mesh.knows(destination);
        if is_known {
            let address = destination.ip().to_canonical();
            let (settled, _) = oneshot::channel();
            // If there is no room for it, the next connection asks.
            let _ = self.questions.try_send(Question::Who { address, settled });
        }
        is_known
    }

    /// Asks about this address and waits for the answer. Dropping the future takes nothing back.
    ///
    /// # Errors
    /// When the control plane does not answer in time, or cannot be asked.
    pub async fn settle(&self, address: IpAddr) -> Result<(), Unanswered> {
        let address = address.to_canonical();
        let (settled, told) = oneshot::channel();
        let question = Question::Who { address, settled };
        self.questions.try_send(question).map_err(|_| Unanswered)?;
        match timeout(self.limit, told).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unanswered),
        }
    }

    /// Tells which addresses are in use; gives them back if they could not be told.
    ///
    /// # Errors
    /// The addresses, to be told another time.
    pub fn report(&self, used: Vec<IpAddr>) -> Result<(), Vec<IpAddr>> {
        match self.questions.try_send(Question::Used(used)) {
            Ok(()) => Ok(()),
            Err(error) => match error.into_inner() {
                Question::Used(used) => Err(used),
                Question::Who { .. } => Ok(()),
            },
        }
    }
}

// === impl Questions ===

impl Questions {
    /// Waits for questions and adds them to `questions`, `most` at once; false when nobody can ask any more. Dropping the future
    /// loses none.
    pub async fn next(&mut self, questions: &mut Vec<Question>, most: usize) -> bool {
        self.0.recv_many(questions, most).await > 0
    }
}

// === impl Publisher ===

impl Publisher {
    /// From now on these are settled. To be said after the mesh knows them.
    pub fn publish(&self, answers: Answers) {
        self.0.store(Arc::new(answers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[tokio::test]
    async fn who_asks_waits_for_the_answer_and_the_next_one_does_not() {
        let (demand, mut questions, publisher) = demand(Duration::from_secs(10));
        let asking = demand.settle(POD);
        let answering = async {
            let mut asked = Vec::new();
            assert!(questions.next(&mut asked, 8).await);
            let Some(Question::Who { address, settled }) = asked.pop() else {
                panic!("{asked:?}");
            };
            publisher.publish(Answers::These([address].into()));
            settled.send(()).unwrap();
        };
        let (settled, ()) = tokio::join!(asking, answering);
        assert_eq!(settled, Ok(()));
        assert!(demand.is_settled(POD));
        assert!(demand.is_settled("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!demand.is_settled("10.0.0.2".parse().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (demand, _questions, _) = demand(Duration::from_secs(5));
        assert_eq!(demand.settle(POD).await, Err(Unanswered));
    }

    #[tokio::test]
    async fn where_nobody_answers_nobody_waits() {
        let (demand, questions, _) = demand(Duration::from_secs(5));
        drop(questions);
        assert_eq!(demand.settle(POD).await, Err(Unanswered));
        assert_eq!(demand.report(vec![POD]), Err(vec![POD]));
    }

    #[test]
    fn there_is_an_end_to_what_waits_for_an_answer() {
        let (demand, _questions, _) = demand(Duration::from_secs(5));
        for _ in 0..MOST_QUESTIONS {
            demand.report(Vec::new()).unwrap();
        }
        assert_eq!(demand.report(vec![POD]), Err(vec![POD]));
    }
}
