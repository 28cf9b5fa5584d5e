//! Tasks that go on until the program ends.
//!
//! `app` starts those of the webhook's thread with these, and `grpc` those of its own.

use std::{error::Error, future, io, time::Duration};

use runtime::{lifecycle::Lifecycle, task::Group};
use tokio::time;

/// What is left to endings when the program stops: less than what the tasks of a group are given to end.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Starts a part of the program that goes on until the group ends.
pub(crate) fn spawn<E>(
    group: &Group,
    name: &'static str,
    part: impl Future<Output = Result<(), E>> + Send + 'static,
) where
    E: Error + Send + Sync + 'static,
{
    let token = group.token().clone();
    group.spawn_essential(name, async move {
        tokio::select! {
            result = part => result,
            () = token.cancelled() => Ok(()),
        }
    });
}

/// A replica that is going leaves the cluster to those that stay: what it wrote now might be what is being uninstalled.
pub(crate) async fn until_draining(
    life: Lifecycle,
    part: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::select! {
        () = part => Ok(()),
        () = life.draining() => future::pending().await,
    }
}

/// Does `ending` once the program drains; if it stops before that is done, there is a moment left.
pub(crate) async fn when_draining(life: Lifecycle, ending: impl Future<Output = ()>) {
    life.draining().await;
    let over = async {
        life.stopping().await;
        time::sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        () = ending => {}
        () = over => {}
    }
}
