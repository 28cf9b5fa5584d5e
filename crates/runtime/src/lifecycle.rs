//! From start to end: the phases of a program, and the signals that move it.
//!
//! `main` spawns [`Lifecycle::run`]; subsystems wait for [`Lifecycle::draining`] and [`Lifecycle::stopping`].
//! Phases only move forward, and readiness is off before anybody hears of [`Phase::Draining`].

use std::{
    fmt::{self, Display, Formatter},
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{self, Instant},
};
use tracing::{info, warn};

use crate::readiness::Readiness;

/// Where a program is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Parts are still missing.
    Starting,
    /// Every part works.
    Ready,
    /// Nothing new is taken on; what is under way may finish.
    Draining,
    /// What is under way is cut off.
    Stopping,
}

/// The life of the program; clones share it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Arc<watch::Sender<Phase>>,
    readiness: Readiness,
    drain: Duration,
}

// === impl Phase ===

impl Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        })
    }
}

// === impl Lifecycle ===

impl Lifecycle {
    /// A program that is starting; once asked to end it may drain for `drain`, which must be shorter than the pod's
    /// `terminationGracePeriodSeconds`.
    #[must_use]
    pub fn new(readiness: Readiness, drain: Duration) -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(Phase::Starting)),
            readiness,
            drain,
        }
    }

    /// The phase at this moment.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Begins to drain, as the first signal does; `reason` is for the log. Has no effect once draining.
    pub fn drain(&self, reason: &str) {
        self.readiness.drain();
        if self.advance(Phase::Draining) {
            info!(reason, deadline_ms = self.drain.as_millis(), "draining");
        }
    }

    /// Cuts off what is under way, as the second signal does; `reason` is for the log. Has no effect once stopping.
    pub fn stop(&self, reason: &str) {
        self.readiness.drain();
        if self.advance(Phase::Stopping) {
            info!(reason, "stopping");
        }
    }

    /// Ends when the program drains or stops. Dropping the future loses nothing.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Ends when the program stops. Dropping the future loses nothing.
    pub async fn stopping(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Moves the program through its phases until it stops: ready with readiness, draining with SIGTERM or SIGINT, stopping with
    /// a second signal or when the time for draining is over.
    ///
    /// # Errors
    /// When the kernel refuses to hand over the signals.
    pub async fn run(self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        self.follow(|cx| poll_signals(&mut terminate, &mut interrupt, cx))
            .await;
        Ok(())
    }

    async fn follow(&self, mut next_signal: impl FnMut(&mut Context<'_>) -> Poll<&'static str>) {
        let start = Instant::now();
        let announce = async {
            self.readiness.ready().await;
            if self.advance(Phase::Ready) {
                info!(after_ms = start.elapsed().as_millis(), "ready");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            name = poll_fn(&mut next_signal) => self.drain(name),
            // Somebody inside the program may ask for the end before it was ever ready.
            () = self.draining() => {}
            () = announce => {}
        }
        tokio::select! {
            name = poll_fn(&mut next_signal) => {
                warn!(signal = name, "second signal, not waiting any longer");
                self.stop(name);
            }
            () = time::sleep(self.drain) => self.stop("the time for draining is over"),
            () = self.stopping() => {}
        }
    }

    async fn reached(&self, phase: Phase) {
        // The sender is alive in `self`, so the wait cannot fail.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn advance(&self, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            if forward {
                *phase = to;
            }
            forward
        })
    }
}

fn poll_signals(
    terminate: &mut Signal,
    interrupt: &mut Signal,
    cx: &mut Context<'_>,
) -> Poll<&'static str> {
    // A closed stream of signals never fires again, which is the same as pending.
    if let Poll::Ready(Some(())) = terminate.poll_recv(cx) {
        return Poll::Ready("SIGTERM");
    }
    match interrupt.poll_recv(cx) {
        Poll::Ready(Some(())) => Poll::Ready("SIGINT"),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(5);

    struct Program {
        life: Lifecycle,
        readiness: Readiness,
        signals: mpsc::UnboundedSender<&'static str>,
        start: Instant,
    }

    fn start() -> (Program, impl Future<Output = ()>) {
        let readiness = Readiness::new();
        let life = Lifecycle::new(readiness.clone(), DRAIN);
        let (signals, mut receiver) = mpsc::unbounded_channel();
        let runner = life.clone();
        let run = async move {
            runner
                .follow(move |cx| {
                    receiver
                        .poll_recv(cx)
                        .map(|name| name.expect("sender lives"))
                })
                .await;
        };
        let program = Program {
            life,
            readiness,
            signals,
            start: Instant::now(),
        };
        (program, run)
    }

    #[tokio::test(start_paused = true)]
    async fn the_program_is_ready_with_its_last_part() {
        let (program, run) = start();
        let guard = program.readiness.register("listener");
        let script = async {
            time::sleep(DRAIN).await;
            assert_eq!(program.life.phase(), Phase::Starting);
            drop(guard);
            program.life.reached(Phase::Ready).await;
            program.life.stop("end of the test");
        };
        tokio::join!(run, script);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_drains_with_readiness_off_and_the_deadline_stops() {
        let (program, run) = start();
        let script = async {
            program.signals.send("SIGTERM").unwrap();
            program.life.draining().await;
            assert!(program.readiness.report().draining);
            program.life.stopping().await;
            assert_eq!(program.start.elapsed(), DRAIN);
        };
        tokio::join!(run, script);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_stops_at_once() {
        let (program, run) = start();
        let script = async {
            program.signals.send("SIGTERM").unwrap();
            program.life.draining().await;
            program.signals.send("SIGINT").unwrap();
            program.life.stopping().await;
            assert!(program.start.elapsed() < DRAIN);
        };
        tokio::join!(run, script);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_can_end_itself() {
        let (program, run) = start();
        let script = async {
            program.life.drain("asked over HTTP");
            program.life.stop("nothing under way");
        };
        tokio::join!(run, script);
        assert_eq!(program.life.phase(), Phase::Stopping);
        assert!(program.start.elapsed() < DRAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_can_end_itself_before_it_was_ever_ready() {
        let (program, run) = start();
        let _guard = program.readiness.register("listener");
        let script = async { program.life.stop("a part failed") };
        let ended = async { tokio::join!(run, script) };
        time::timeout(DRAIN, ended).await.expect("it ends at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_before_readiness_is_obeyed() {
        let (program, run) = start();
        let _guard = program.readiness.register("listener");
        program.signals.send("SIGTERM").unwrap();
        run.await;
        assert_eq!(program.life.phase(), Phase::Stopping);
    }
}
