use std::{future, io};

use super::*;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_group_ends_when_its_tasks_have_ended() {
    let group = Group::new();
    group.spawn("connection", time::sleep(SOON / 2));
    assert!(group.join(SOON).await.is_ok());
    assert!(group.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tasks_started_while_joining_are_awaited_too() {
    let group = Group::new();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let inner = group.clone();
    group.spawn("outer", async move {
        time::sleep(SOON / 4).await;
        inner.spawn("inner", async move {
            time::sleep(SOON / 4).await;
            let _ = sender.send(());
        });
    });
    assert!(group.join(SOON).await.is_ok());
    assert_eq!(receiver.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_runs_past_the_deadline_is_named_and_aborted() {
    let group = Group::new();
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    group.spawn("listener", async move {
        let _sender = sender;
        future::pending().await
    });
    group.spawn("connection", future::pending());
    group.spawn("connection", future::pending());
    let failure = group.join(SOON).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "still running after 5.000 s: 2 × connection, listener"
    );
    assert!(receiver.await.is_err(), "the task was dropped");
}

#[tokio::test]
async fn the_error_of_an_essential_task_cancels_the_group() {
    let group = Group::new();
    group.spawn_essential("listener", async { Err(io::Error::other("no more files")) });
    let others = group.clone();
    group.spawn("connection", async move { others.cancelled().await });
    group.cancelled().await;
    let failure = group.join(SOON).await.unwrap_err();
    assert_eq!(
        chain(&failure).to_string(),
        "the listener failed: no more files"
    );
}

#[tokio::test]
async fn the_early_end_of_an_essential_task_cancels_the_group() {
    let group = Group::new();
    group.spawn_essential("listener", async { Ok::<_, io::Error>(()) });
    group.cancelled().await;
    assert!(matches!(
        group.join(SOON).await,
        Err(Failure::Ended { task: "listener" })
    ));
}

#[tokio::test]
async fn an_essential_task_may_end_once_the_group_is_cancelled() {
    let group = Group::new();
    let inner = group.clone();
    group.spawn_essential("listener", async move {
        inner.cancelled().await;
        Ok::<_, io::Error>(())
    });
    group.cancel();
    assert!(group.join(SOON).await.is_ok());
}

#[tokio::test]
async fn the_panic_of_an_essential_task_cancels_the_group() {
    let group = Group::new();
    group.spawn_essential("listener", async {
        tokio::task::yield_now().await;
        panic!("a broken invariant");
        #[expect(unreachable_code, reason = "gives the future its type")]
        Ok::<_, io::Error>(())
    });
    group.cancelled().await;
    assert!(matches!(
        group.join(SOON).await,
        Err(Failure::Panicked { task: "listener" })
    ));
}

#[tokio::test]
async fn the_panic_of_another_task_leaves_the_group_alone() {
    let group = Group::new();
    group.spawn("connection", async { panic!("a broken invariant") });
    assert!(group.join(SOON).await.is_ok());
    assert!(!group.token().is_cancelled());
}

#[tokio::test]
async fn ended_tasks_are_not_kept() {
    let group = Group::new();
    for _ in 0..1000 {
        group.spawn("connection", async {});
        tokio::task::yield_now().await;
    }
    assert!(group.shared.state().names.len() < 10);
    group.spawn("connection", future::pending());
    assert_eq!(group.running().count("connection"), 1);
}

#[tokio::test]
async fn a_group_under_a_token_shares_its_fate() {
    let token = CancellationToken::new();
    let group = Group::under(token.clone());
    token.cancel();
    group.cancelled().await;
}
