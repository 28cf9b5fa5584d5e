//! One line for every request and every opaque connection, written when it is over.
//!
//! A worker formats lines into a batch of its own; now and then the batch goes to the [`Reader`], which writes it on another thread,
//! and comes back empty. A log that is written too slowly therefore delays nobody: what no longer fits is dropped and counted.

mod format;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Notify, mpsc},
};

pub(crate) use format::{Cluster, Http, Line};

/// How the lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Envoy's line with Istio's default fields.
    Text,
    /// An object a line with Istio's default keys.
    Json,
}

/// Largest batch in bytes; one more line always fits a batch that is below it.
const MAX_BATCH: usize = 64 * 1024;
/// A batch this large is handed over at once.
const FULL_BATCH: usize = 32 * 1024;
/// Batches that may wait to be written: a megabyte with the batch size above.
const MAX_WAITING: usize = 16;
/// How long a line may wait for others to be handed over with it.
const DELAY: Duration = Duration::from_millis(50);

/// Where a worker writes its lines.
#[derive(Debug)]
pub(crate) struct AccessLog {
    format: Format,
    worker: usize,
    batch: RefCell<Vec<u8>>,
    to_reader: mpsc::Sender<Batch>,
    from_reader: RefCell<mpsc::Receiver<Vec<u8>>>,
    /// Tells the flush task that a batch has begun.
    begun: Notify,
    flush_is_due: Cell<bool>,
}

/// The other end of every worker's access log, to be run on a thread that may wait for the output.
#[derive(Debug)]
pub struct Reader {
    batches: mpsc::Receiver<Batch>,
    /// By worker.
    empties: Vec<mpsc::Sender<Vec<u8>>>,
}

/// A worker's end before it is on its thread.
#[derive(Debug)]
pub(crate) struct Sender {
    format: Format,
    worker: usize,
    to_reader: mpsc::Sender<Batch>,
    from_reader: mpsc::Receiver<Vec<u8>>,
}

/// Whole lines of one worker.
#[derive(Debug)]
struct Batch {
    worker: usize,
    lines: Vec<u8>,
}

/// The ends of a log, one for each of `n_workers` and one for whoever writes it.
pub(crate) fn channel(format: Format, n_workers: usize) -> (Vec<Sender>, Reader) {
    let (to_reader, batches) = mpsc::channel(MAX_WAITING);
    let (senders, empties) = (0..n_workers)
        .map(|worker| {
            let (empties, from_reader) = mpsc::channel(MAX_WAITING + 1);
            let to_reader = to_reader.clone();
            let sender = Sender {
                format,
                worker,
                to_reader,
                from_reader,
            };
            (sender, empties)
        })
        .unzip();
    (senders, Reader { batches, empties })
}

// === impl AccessLog ===

impl AccessLog {
    /// Puts the end to use on the current thread.
    pub(crate) fn new(sender: Sender) -> Rc<Self> {
        Rc::new(Self {
            format: sender.format,
            worker: sender.worker,
            batch: RefCell::default(),
            to_reader: sender.to_reader,
            from_reader: RefCell::new(sender.from_reader),
            begun: Notify::new(),
            flush_is_due: Cell::new(false),
        })
    }

    /// Adds a line. False says that it was dropped.
    pub(crate) fn write(&self, line: &Line<'_>) -> bool {
        if self.batch.borrow().len() >= FULL_BATCH {
            self.flush();
        }
        let mut batch = self.batch.borrow_mut();
        if batch.len() >= MAX_BATCH {
            return false;
        }
        match self.format {
            Format::Text => format::text(line, &mut batch),
            Format::Json => format::json(line, &mut batch),
        }
        if !self.flush_is_due.replace(true) {
            self.begun.notify_one();
        }
        true
    }

    /// Hands the batch over if there is room for it; otherwise it stays and grows.
    pub(crate) fn flush(&self) {
        if self.batch.borrow().is_empty() {
            return;
        }
        let Ok(place) = self.to_reader.try_reserve() else {
            return;
        };
        let empty = self.from_reader.borrow_mut().try_recv();
        place.send(Batch {
            worker: self.worker,
            lines: self.batch.replace(empty.unwrap_or_default()),
        });
    }

    /// Hands batches over soon after they have begun, until it is dropped.
    pub(crate) async fn keep_flushing(&self) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(DELAY).await;
            self.flush_is_due.set(false);
            self.flush();
            // The reader was full: another attempt later.
            if !self.batch.borrow().is_empty() && !self.flush_is_due.replace(true) {
                self.begun.notify_one();
            }
        }
    }
}

// === impl Reader ===

impl Reader {
    /// Writes every line to `output`, flushing it each time there is nothing more at the moment, until the data plane has ended.
    ///
    /// Dropping the future in the middle can lose lines that were taken and not yet written.
    ///
    /// # Errors
    /// What the output says; the workers drop and count their lines from then on.
    pub async fn copy_to(mut self, mut output: impl AsyncWrite + Unpin) -> io::Result<()> {
        while let Some(Batch { worker, mut lines }) = self.batches.recv().await {
            output.write_all(&lines).await?;
            if self.batches.is_empty() {
                output.flush().await?;
            }
            lines.clear();
            if let Some(empties) = self.empties.get(worker) {
                // Refused where the worker has ended.
                let _ = empties.try_send(lines);
            }
        }
        output.flush().await
    }
}

#[cfg(test)]
mod tests;
