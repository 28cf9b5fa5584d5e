//! How the proxy ends: what a signal and the two HTTP requests do to traffic.
//!
//! The status server calls it as its [`Control`]; `app` runs [`Ending::follow`] beside the lifecycle. Three stories end well:
//!
//! - An ordinary sidecar gets SIGTERM together with the application, which may still be finishing its work and needs the way out: it
//!   stays for some seconds at least, then for as long as there are connections and the pod's grace period allows; or, if somebody said
//!   how long, for that time whether there are connections or not.
//! - A native sidecar gets `POST /drain` from its preStop hook when the pod begins to end, and SIGTERM when all other containers have
//!   ended: nothing is left to wait for then.
//! - `POST /quitquitquit` comes from a Job's own container when its work is done: at once, without draining.

use std::{sync::Arc, time::Duration};

use runtime::{lifecycle::Lifecycle, readiness::Readiness};
use tokio::{sync::Notify, time::sleep};
use tracing::info;

use crate::{config::Drain, data_plane::DataPlane, status::Control};

/// Traffic that can be asked to come to its end.
pub trait Traffic {
    /// Lets connections end with the request at hand.
    fn drain(&self);
    /// How many connections are open.
    fn n_active(&self) -> usize;
    /// Ends when part of what carries the traffic is gone. Dropping the future loses nothing.
    fn lost(&mut self) -> impl Future<Output = ()>;
}

/// What leads to the end of the proxy; clones share it.
#[derive(Clone, Debug)]
pub struct Ending {
    lifecycle: Lifecycle,
    readiness: Readiness,
    drain: Arc<Notify>,
}

/// Part of what carries the traffic is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// How often connections are counted while waiting for the last; Istio's interval.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// Where there is no time of our own for draining, the pod's grace period is the limit, which the kubelet keeps.
const NO_LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long draining may take at most.
#[must_use]
pub fn limit(drain: Drain) -> Duration {
    match drain {
        Drain::Fixed(duration) => duration,
        Drain::UntilIdle { limit, .. } => limit.unwrap_or(NO_LIMIT),
    }
}

// === impl DataPlane ===

impl Traffic for DataPlane {
    fn drain(&self) {
        Self::drain(self);
    }

    fn n_active(&self) -> usize {
        self.active_connections()
    }

    fn lost(&mut self) -> impl Future<Output = ()> {
        self.worker_lost()
    }
}

// === impl Ending ===

impl Ending {
    /// The ending of a program of this lifecycle and readiness.
    #[must_use]
    pub fn new(lifecycle: Lifecycle, readiness: Readiness) -> Self {
        Self {
            lifecycle,
            readiness,
            drain: Arc::new(Notify::new()),
        }
    }

    /// Drains `traffic` when that is asked for, and returns when the program has to stop: because it was asked to, because its
    /// time for draining is over, or because there is nothing left to wait for. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Lost`] when the traffic is no longer carried.
    pub async fn follow(&self, traffic: &mut impl Traffic, drain: Drain) -> Result<(), Lost> {
        let mut drained = false;
        loop {
            tokio::select! {
                () = self.lifecycle.draining() => break,
                () = traffic.lost() => return Err(Lost),
                () = self.drain.notified() => {
                    if !drained {
                        info!("draining until a signal comes");
                        traffic.drain();
                    }
                    drained = true;
                }
            }
        }
        if drained {
            self.lifecycle.stop("drained before the signal came");
            return Ok(());
        }
        traffic.drain();
        let (is_until_idle, mut pause) = match drain {
            Drain::Fixed(limit) => (false, limit),
            Drain::UntilIdle { minimum, .. } => (true, minimum),
        };
        loop {
            tokio::select! {
                () = self.lifecycle.stopping() => return Ok(()),
                () = traffic.lost() => return Err(Lost),
                () = sleep(pause), if is_until_idle => {
                    if traffic.n_active() == 0 {
                        self.lifecycle.stop("no connection is left");
                        return Ok(());
                    }
                    pause = COUNT_INTERVAL;
                }
            }
        }
    }
}

impl Control for Ending {
    fn drain(&self) {
        self.readiness.drain();
        self.drain.notify_one();
    }

    fn quit(&self) {
        self.lifecycle.stop("asked by POST /quitquitquit");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::Instant;

    use super::*;

    #[derive(Default)]
    struct Fake {
        drains: AtomicUsize,
        active_until: Option<Instant>,
        is_lost: bool,
    }

    impl Traffic for Fake {
        fn drain(&self) {
            self.drains.fetch_add(1, Ordering::SeqCst);
        }

        fn n_active(&self) -> usize {
            self.active_until
                .is_some_and(|until| Instant::now() < until)
                .into()
        }

        async fn lost(&mut self) {
            if !self.is_lost {
                pending().await
            }
        }
    }

    const FIXED: Drain = Drain::Fixed(Duration::from_secs(5));

    fn ending(drain: Drain) -> Ending {
        let readiness = Readiness::new();
        let lifecycle = Lifecycle::new(readiness.clone(), limit(drain));
        Ending::new(lifecycle, readiness)
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_after_a_drain_ends_at_once() {
        let ending = ending(FIXED);
        let mut traffic = Fake::default();
        let start = Instant::now();
        let script = async {
            ending.drain();
            sleep(Duration::from_secs(60)).await;
            ending.drain();
            sleep(Duration::from_secs(60)).await;
            assert!(!ending.readiness.is_ready());
            ending.lifecycle.drain("SIGTERM");
        };
        let (result, ()) = tokio::join!(ending.follow(&mut traffic, FIXED), script);
        assert_eq!(result, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 120);
        assert_eq!(traffic.drains.into_inner(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_drain_waits_for_the_deadline_even_without_connections() {
        let ending = ending(FIXED);
        let mut traffic = Fake::default();
        ending.lifecycle.drain("SIGTERM");
        let deadline = async {
            sleep(Duration::from_secs(5)).await;
            ending.lifecycle.stop("deadline");
        };
        let start = Instant::now();
        let (result, ()) = tokio::join!(ending.follow(&mut traffic, FIXED), deadline);
        assert_eq!(result, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(traffic.drains.into_inner(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_drain_takes_the_minimum_and_then_the_last_connection() {
        let drain = Drain::UntilIdle {
            minimum: Duration::from_secs(3),
            limit: None,
        };
        for (active_millis, seconds) in [(0, 3), (2900, 3), (9500, 10)] {
            let ending = ending(drain);
            let start = Instant::now();
            let mut traffic = Fake {
                active_until: Some(start + Duration::from_millis(active_millis)),
                ..Fake::default()
            };
            ending.lifecycle.drain("SIGTERM");
            assert_eq!(ending.follow(&mut traffic, drain).await, Ok(()));
            assert_eq!(start.elapsed().as_secs(), seconds, "{active_millis}");
            ending.lifecycle.stopping().await;
        }
    }

    #[test]
    fn the_grace_period_limits_what_has_no_time_of_its_own() {
        let minimum = Duration::from_secs(5);
        let known = Some(Duration::from_secs(25));
        let until_idle = |limit| Drain::UntilIdle { minimum, limit };
        assert_eq!(limit(until_idle(known)).as_secs(), 25);
        assert_eq!(limit(until_idle(None)), NO_LIMIT);
        assert_eq!(limit(FIXED).as_secs(), 5);
    }

    #[tokio::test]
    async fn quitting_does_not_drain() {
        let ending = ending(FIXED);
        let mut traffic = Fake::default();
        ending.quit();
        assert_eq!(ending.follow(&mut traffic, FIXED).await, Ok(()));
        ending.lifecycle.stopping().await;
    }

    #[tokio::test]
    async fn lost_traffic_ends_the_proxy() {
        let mut traffic = Fake {
            is_lost: true,
            ..Fake::default()
        };
        assert_eq!(ending(FIXED).follow(&mut traffic, FIXED).await, Err(Lost));
    }
}
