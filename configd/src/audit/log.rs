//! The running audit log: a queue of events, and one task that puts them on the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidegate_runtime::tasks::Tasks;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tracing::{error, info};

use super::budget::Budget;
use super::chain::Head;
use super::files::{AuditError, Files};
use super::record::Event;
use crate::clock;

/// Events that wait for the disk. Writers wait for a place; refusals beyond it are only counted.
const QUEUE_LEN_MAX: usize = 1_024;

/// Takes events; clones write to the same log.
#[derive(Debug, Clone)]
pub(crate) struct AuditLog {
    queue: mpsc::Sender<Entry>,
    /// Refusals that found the queue full.
    missed: Arc<AtomicU64>,
    /// The last append failed.
    failed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Entry {
    event: Event,
    /// Hears whether the event is on the disk; refusals do not wait for it.
    done: Option<oneshot::Sender<bool>>,
}

struct Writer {
    files: Files,
    head: Head,
    budget: Budget,
    missed: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl AuditLog {
    /// Opens the log of a folder. Its task ends when the last clone is dropped.
    pub(crate) fn open(folder: &Path, tasks: &Tasks) -> Result<Self, AuditError> {
        let (files, head) = Files::open(folder)?;
        let (queue, entries) = mpsc::channel(QUEUE_LEN_MAX);
        let log = Self {
            queue,
            missed: Arc::default(),
            failed: Arc::default(),
        };
        let writer = Writer {
            files,
            head,
            budget: Budget::default(),
            missed: log.missed.clone(),
            failed: log.failed.clone(),
        };
        tasks.spawn_blocking("audit log", move || writer.run(entries));
        Ok(log)
    }

    /// Whether a write may begin: not while the log cannot be written, since it would leave no record.
    pub(crate) fn check(&self) -> Result<(), Status> {
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What is tried is itself worth a record, once it can be written.
        let event = Event {
            caller: "configd".to_owned(),
            method: "audit log is tried again".to_owned(),
            outcome: "OK".to_owned(),
            ..Event::default()
        };
        let _ = self.queue.try_send(Entry { event, done: None });
        Err(unavailable())
    }

    /// Records a write, and returns when the record is on the disk.
    pub(crate) async fn write(&self, event: Event) -> Result<(), Status> {
        let (done, heard) = oneshot::channel();
        let entry = Entry {
            event,
            done: Some(done),
        };
        let sent = self.queue.send(entry).await;
        sent.map_err(|_| unavailable())?;
        match heard.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(unavailable()),
        }
    }

    /// Records a refusal, as far as there is room.
    pub(crate) fn refused(&self, event: Event) {
        if self.queue.try_send(Entry { event, done: None }).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn unavailable() -> Status {
    Status::unavailable(
        "the audit log cannot be written, so nothing else is; configd's log says why (is the disk full?)",
    )
}

impl Writer {
    fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        while let Some(first) = entries.blocking_recv() {
            let mut batch = vec![first];
            while let Ok(entry) = entries.try_recv() {
                batch.push(entry);
            }
            let written = self.append(&mut batch);
            let failed = written.is_err();
            match written {
                Err(error) => {
                    error!(%error, "The audit log cannot be written; writes are refused.")
                }
                Ok(()) if self.failed.load(Ordering::Relaxed) => {
                    info!("The audit log is written again.")
                }
                Ok(()) => {}
            }
            self.failed.store(failed, Ordering::Relaxed);
            for entry in batch {
                if let Some(done) = entry.done {
                    // A caller that has gone needs no answer.
                    let _ = done.send(!failed);
                }
            }
        }
    }

    fn append(&mut self, batch: &mut [Entry]) -> Result<(), AuditError> {
        self.budget
            .leave_out(self.missed.swap(0, Ordering::Relaxed));
        let (mut head, now) = (self.head.clone(), clock::unix_ms());
        let mut lines = vec![];
        for entry in batch {
            if entry.done.is_some() || self.budget.keeps(now) {
                let event = std::mem::take(&mut entry.event);
                lines.push(head.append(event, now, self.budget.take_left_out()));
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.files.append(self.head.number + 1, &lines)?;
        self.head = head;
        Ok(())
    }
}
