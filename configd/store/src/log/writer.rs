//! The one thread that writes the log: it gathers what waits into one frame, syncs once, then answers all.

use std::io;

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::{journal::Journal, medium::Medium, record::Record};
use crate::{
    StoreError,
    raft::{Entry, LogId, TypeConfig, Vote},
};

/// Requests that share one frame, at most.
const GROUP_LEN_MAX: usize = 256;
/// A frame that has so many bytes gets no more.
const FRAME_BYTES: usize = 4 << 20;

/// Answers a request.
pub(crate) type Done = oneshot::Sender<io::Result<()>>;

/// What the writer is asked to do, in this order.
pub(crate) enum Request {
    /// Add entries at the end.
    Append {
        entries: Vec<Entry>,
        callback: IOFlushed<TypeConfig>,
    },
    /// Replace the vote.
    Vote { vote: Vote, done: Done },
    /// Note what is committed; nobody waits.
    Committed { committed: Option<LogId> },
    /// Remove the entries from this index on.
    Truncate { first_gone: u64, done: Done },
    /// Remove the entries up to this one.
    Purge { upto: LogId, done: Done },
    /// Sync and end.
    Close { done: oneshot::Sender<()> },
}

/// Who waits for the sync.
enum Waiting {
    Callback(IOFlushed<TypeConfig>),
    Done(Done),
}

/// The journal and who waits for it.
pub(crate) struct Writer<M> {
    journal: Journal<M>,
    /// The first failure. What reached the disk is then not known, so nothing more is written.
    failed: Option<String>,
    /// What is committed, for the next frame.
    committed: Option<Option<LogId>>,
    waiting: Vec<Waiting>,
}

impl<M: Medium> Writer<M> {
    pub(crate) fn new(journal: Journal<M>) -> Self {
        Self {
            journal,
            failed: None,
            committed: None,
            waiting: Vec::new(),
        }
    }

    /// Works until the log is closed or dropped.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            let mut closing = None;
            for _ in 0..GROUP_LEN_MAX {
                let Some(request) = next.take().or_else(|| queue.try_recv().ok()) else {
                    break;
                };
                if let Request::Close { done } = request {
                    closing = Some(done);
                    break;
                }
                self.take(request);
                if self.is_full() {
                    break;
                }
            }
            self.finish(closing.is_some());
            if let Some(done) = closing {
                // The medium is closed before the answer, so that the directory can be opened again at once.
                drop(self);
                let _ = done.send(());
                return;
            }
        }
        self.finish(true);
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Append { entries, callback } => {
                for entry in entries {
                    self.push(&Record::Entry(entry));
                    if self.is_full() {
                        self.attempt(Journal::commit);
                    }
                }
                self.waiting.push(Waiting::Callback(callback));
            }
            Request::Vote { vote, done } => {
                self.push(&Record::Vote(vote));
                self.waiting.push(Waiting::Done(done));
            }
            Request::Committed { committed } => self.committed = Some(committed),
            Request::Truncate { first_gone, done } => {
                self.push(&Record::Truncated { first_gone });
                self.waiting.push(Waiting::Done(done));
            }
            Request::Purge { upto, done } => {
                self.push(&Record::Purged(upto));
                self.waiting.push(Waiting::Done(done));
            }
            Request::Close { .. } => {}
        }
    }

    fn is_full(&self) -> bool {
        self.journal.draft_bytes() > FRAME_BYTES
    }

    /// What cannot be written any more is not gathered either.
    fn push(&mut self, record: &Record) {
        if self.failed.is_none() {
            self.journal.push(record);
        }
    }

    /// Writes where somebody waits or the log closes, then answers.
    fn finish(&mut self, closing: bool) {
        if closing || !self.waiting.is_empty() {
            if let Some(committed) = self.committed.take() {
                self.push(&Record::Committed(committed));
            }
            self.attempt(Journal::commit);
        }
        if closing {
            self.attempt(Journal::settle);
        }
        for waiting in self.waiting.drain(..) {
            let failed = self.failed.as_ref();
            let result = failed.map_or(Ok(()), |why| Err(io::Error::other(why.clone())));
            match waiting {
                Waiting::Callback(callback) => callback.io_completed(result),
                Waiting::Done(done) => drop(done.send(result)),
            }
        }
    }

    fn attempt(&mut self, step: impl FnOnce(&mut Journal<M>) -> Result<(), StoreError>) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = step(&mut self.journal) {
            let why = error.into_io().to_string();
            tracing::error!(why, "the log cannot be written");
            self.failed = Some(why);
        }
    }
}
