use std::{
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use super::*;

fn line() -> Line<'static> {
    Line {
        started: SystemTime::UNIX_EPOCH,
        http: None,
        status: 0,
        flags: "-",
        details: None,
        termination: None,
        transport_failure: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: Duration::ZERO,
        upstream_time: None,
        upstream_host: None,
        upstream_local: None,
        cluster: Cluster::Inbound(80),
        downstream_local: ([10, 0, 0, 2], 80).into(),
        downstream_remote: ([10, 0, 0, 1], 50_000).into(),
        server_name: None,
        route: None,
    }
}

fn log() -> (Rc<AccessLog>, Reader) {
    let (senders, reader) = channel(Some(Format::Text), 1);
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
    let mut output = Memory::default();
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
    assert_eq!(output.0.iter().filter(|byte| **byte == b'\n').count(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_switch_loses_no_line_and_cuts_none() {
    let (log, reader) = log();
    let control = reader.control();
    let mut expect = 0;
    for (index, format) in [Some(Format::Text), None, Some(Format::Json)]
        .into_iter()
        .cycle()
        .take(600)
        .enumerate()
    {
        control.set(format);
        assert!(log.write(&line()), "line {index} is dropped");
        expect += usize::from(format.is_some());
    }
    log.flush();
    control.reopen();
    drop(log);
    let mut output = Memory::default();
    reader.copy_to(&mut output).await.unwrap();
    let written = String::from_utf8(output.0).unwrap();
    let (opened, lines): (Vec<_>, Vec<_>) = written.lines().partition(|line| *line == "opened");
    assert_eq!((opened.len(), lines.len()), (1, expect));
    for line in lines {
        let is_json = serde_json::from_str::<serde_json::Value>(line).is_ok();
        assert!(
            is_json || line.starts_with('[') && line.ends_with(" - -"),
            "{line}"
        );
    }
}

/// Keeps what is written.
#[derive(Default)]
struct Memory(Vec<u8>);

impl AsyncWrite for &mut Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Output for &mut Memory {
    async fn reopen(&mut self) {
        self.0.extend_from_slice(b"opened\n");
    }
}

/// Polls once.
async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
