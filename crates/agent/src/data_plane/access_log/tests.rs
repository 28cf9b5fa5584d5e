use std::time::SystemTime;

use super::*;

fn line() -> Line<'static> {
    Line {
        started: SystemTime::UNIX_EPOCH,
        http: None,
        status: 0,
        flags: "-",
        details: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: Duration::ZERO,
        upstream_time: None,
        upstream_host: None,
        upstream_local: None,
        cluster: Cluster::Inbound(80),
        downstream_local: ([10, 0, 0, 2], 80).into(),
        downstream_remote: ([10, 0, 0, 1], 50_000).into(),
        route: None,
    }
}

fn log() -> (Rc<AccessLog>, Reader) {
    let (senders, reader) = channel(Format::Text, 1);
    (AccessLog::new(senders.into_iter().next().unwrap()), reader)
}

#[test]
fn a_log_that_nobody_reads_drops_lines_instead_of_growing() {
    let (log, mut reader) = log();
    let kept = (0..100_000).take_while(|_| log.write(&line())).count();
    assert!((1..100_000).contains(&kept), "{kept} lines are kept");
    drop(log);
    let mut bytes = 0;
    while let Ok(batch) = reader.batches.try_recv() {
        assert!(batch.lines.ends_with(b"\n"));
        bytes += batch.lines.len();
    }
    assert!(
        bytes <= (MAX_WAITING + 1) * (MAX_BATCH + 1024),
        "{bytes} bytes were kept"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn lines_are_written_and_their_memory_is_used_again() {
    let (log, reader) = log();
    log.write(&line());
    log.flush();
    let mut output = Vec::new();
    let mut copy = Box::pin(reader.copy_to(&mut output));
    assert!(is_pending(copy.as_mut()).await);
    log.write(&line());
    log.flush();
    assert!(
        log.batch.borrow().capacity() > 0,
        "the first batch came back"
    );
    drop(log);
    copy.await.unwrap();
    assert_eq!(output.iter().filter(|byte| **byte == b'\n').count(), 2);
}

/// Polls once.
async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
