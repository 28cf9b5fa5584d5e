//! One line for every request and every opaque connection, written when it is over.
//!
//! A worker formats lines into a batch of its own; now and then the batch goes to the [`Reader`], which writes it on another thread,
//! and comes back empty. A log that is written too slowly therefore delays nobody: what no longer fits is dropped and counted.
//! [`Control`] switches the log while it runs: whole lines are written in one format or the other, and none that was written is lost.

mod control;
mod format;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Notify, mpsc},
};

pub use control::Control;
pub(crate) use format::{Cluster, Http, Line};

use control::Switch;

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
    switch: Arc<Switch>,
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
    switch: Arc<Switch>,
}

/// Where the lines go.
pub trait Output: AsyncWrite + Unpin {
    /// Opens the file anew, as whoever has moved it away asks for. Called between lines, when all of them were flushed.
    fn reopen(&mut self) -> impl Future<Output = ()> + Send;
}

/// A worker's end before it is on its thread.
#[derive(Debug)]
pub(crate) struct Sender {
    switch: Arc<Switch>,
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

/// The ends of a log, one for each of `n_workers` and one for whoever writes it. It is off where there is no format.
pub(crate) fn channel(format: Option<Format>, n_workers: usize) -> (Vec<Sender>, Reader) {
    let (to_reader, batches) = mpsc::channel(MAX_WAITING);
    let switch = Arc::new(Switch::new(format));
    let (senders, empties) = (0..n_workers)
        .map(|worker| {
            let (empties, from_reader) = mpsc::channel(MAX_WAITING + 1);
            let to_reader = to_reader.clone();
            let sender = Sender {
                switch: Arc::clone(&switch),
                worker,
                to_reader,
                from_reader,
            };
            (sender, empties)
        })
        .unzip();
    let reader = Reader {
        batches,
        empties,
        switch,
    };
    (senders, reader)
}

// === impl AccessLog ===

impl AccessLog {
    /// Puts the end to use on the current thread.
    pub(crate) fn new(sender: Sender) -> Rc<Self> {
        Rc::new(Self {
            switch: sender.switch,
            worker: sender.worker,
            batch: RefCell::default(),
            to_reader: sender.to_reader,
            from_reader: RefCell::new(sender.from_reader),
            begun: Notify::new(),
            flush_is_due: Cell::new(false),
        })
    }

    /// Whether lines are written at the moment.
    pub(crate) fn is_on(&self) -> bool {
        self.switch.format().is_some()
    }

    /// Adds a line if the log is on. False says that it was dropped.
    pub(crate) fn write(&self, line: &Line<'_>) -> bool {
        let Some(format) = self.switch.format() else {
            return true;
        };
        if self.batch.borrow().len() >= FULL_BATCH {
            self.flush();
        }
        let mut batch = self.batch.borrow_mut();
        if batch.len() >= MAX_BATCH {
            return false;
        }
        match format {
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
    /// The handle that switches this log.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.switch))
    }

    /// Writes every line to `output`, flushing it each time there is nothing more at the moment, until the data plane has ended.
    ///
    /// Dropping the future in the middle can lose lines that were taken and not yet written.
    ///
    /// # Errors
    /// What the output says; the workers drop and count their lines from then on.
    pub async fn copy_to(mut self, mut output: impl Output) -> io::Result<()> {
        loop {
            let batch = tokio::select! {
                biased;
                () = self.switch.reopen_wanted() => {
                    output.flush().await?;
                    output.reopen().await;
                    continue;
                }
                batch = self.batches.recv() => batch,
            };
            let Some(Batch { worker, mut lines }) = batch else {
                return output.flush().await;
            };
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
    }
}

#[cfg(test)]
mod tests;
