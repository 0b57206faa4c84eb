//! The one thread that writes the log: it gathers what waits, writes it, syncs once, then answers all.

use std::{collections::BTreeMap, io};

use openraft::{entry::RaftEntry as _, storage::IOFlushed};
use tokio::sync::{mpsc, oneshot};

use super::{
    frame::{self, Chain},
    scan::{COMMITTED, End, PURGED, VOTE, plain_vote},
    wire,
};
use crate::{
    StoreError,
    disk::{LogEngine, Witness, Write},
    raft::{Entry, LogId, TypeConfig, Vote},
};

/// Requests that share one sync, at most.
const GROUP_LEN_MAX: usize = 256;
/// Rows that one batch removes, at most.
const REMOVALS_MAX: usize = 1_000;

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

/// What is known of a log that was opened.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) chains: BTreeMap<u64, End>,
    /// Index of the last entry that is gone because an image contains it.
    pub(crate) purged: Option<u64>,
    pub(crate) purged_chain: Chain,
    pub(crate) vote: Option<Vote>,
}

/// The engine and what the writer must know of the log.
pub(crate) struct Writer<E> {
    engine: E,
    known: Known,
    /// The first failure. What reached the disk is then not known, so nothing more is written.
    failed: Option<String>,
    batch: Vec<Write>,
    waiting: Vec<Waiting>,
    dirty: bool,
}

impl<E: LogEngine> Writer<E> {
    pub(crate) fn new(engine: E, known: Known) -> Self {
        let (batch, waiting) = (Vec::new(), Vec::new());
        Self {
            engine,
            known,
            failed: None,
            batch,
            waiting,
            dirty: false,
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
            }
            self.finish(closing.is_some());
            if let Some(done) = closing {
                // The engine is closed before the answer, so that the directory can be opened again at once.
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
                entries.iter().for_each(|entry| self.append(entry));
                self.waiting.push(Waiting::Callback(callback));
            }
            Request::Vote { vote, done } => {
                self.known.vote = Some(vote);
                self.mark(VOTE, &wire::encode_vote(&vote));
                self.waiting.push(Waiting::Done(done));
            }
            Request::Committed {
                committed: Some(id),
            } => self.mark(COMMITTED, &wire::encode_log_id(&id)),
            Request::Committed { committed: None } => {
                self.batch.push(Write::Remove(COMMITTED.to_vec()))
            }
            Request::Truncate { first_gone, done } => {
                // The witness must not know of what is removed, nor of what is not synced yet.
                self.sync();
                let gone = self.known.chains.split_off(&first_gone);
                self.attest();
                // Newest first: a crash between two batches must not leave a gap.
                self.remove(gone.into_iter().rev());
                self.waiting.push(Waiting::Done(done));
            }
            Request::Purge { upto, done } => {
                self.purge(upto);
                self.waiting.push(Waiting::Done(done));
            }
            Request::Close { .. } => {}
        }
    }

    fn append(&mut self, entry: &Entry) {
        let before = self
            .known
            .chains
            .last_key_value()
            .map_or(self.known.purged_chain, |(_, end)| end.chain);
        let (rows, chain) = frame::split(entry.index(), &wire::encode_entry(entry), before);
        let parts = u32::try_from(rows.len()).expect("an entry has few rows");
        self.known
            .chains
            .insert(entry.index(), End { chain, parts });
        self.batch
            .extend(rows.into_iter().map(|(key, value)| Write::Put(key, value)));
    }

    fn purge(&mut self, upto: LogId) {
        let kept = self.known.chains.split_off(&(upto.index + 1));
        let gone = std::mem::replace(&mut self.known.chains, kept);
        self.known.purged = self.known.purged.max(Some(upto.index));
        self.known.purged_chain = gone
            .last_key_value()
            .map_or(self.known.purged_chain, |(_, end)| end.chain);
        // The mark goes first: rows below it do not count any more, whether they are still there or not.
        self.mark(PURGED, &wire::encode_purged(&upto, self.known.purged_chain));
        self.remove(gone.into_iter());
    }

    fn remove(&mut self, gone: impl Iterator<Item = (u64, End)>) {
        for (index, end) in gone {
            if self.batch.len() >= REMOVALS_MAX {
                self.write();
            }
            self.batch.extend(
                (0..end.parts)
                    .rev()
                    .map(|part| Write::Remove(frame::key(index, part))),
            );
        }
    }

    fn mark(&mut self, key: &[u8], payload: &[u8]) {
        self.batch
            .push(Write::Put(key.to_vec(), frame::seal_single(key, payload)));
    }

    fn write(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() || self.failed.is_some() {
            return;
        }
        self.dirty = true;
        let written = self.engine.write(batch);
        self.note(written);
    }

    fn sync(&mut self) {
        self.write();
        if self.dirty && self.failed.is_none() {
            let synced = self.engine.sync();
            self.dirty = false;
            self.note(synced);
        }
    }

    /// Notes apart from the log how far it is synced.
    fn attest(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let known = &self.known;
        let (last, chain) = match known.chains.last_key_value() {
            Some((last, end)) => (Some(*last), end.chain),
            None => (known.purged, known.purged_chain),
        };
        let vote = known.vote.as_ref().map(plain_vote).unwrap_or_default();
        let attested = self.engine.attest(Witness { last, chain, vote });
        self.note(attested);
    }

    /// Writes the batch, syncs and attests where somebody waits or the log closes, then answers.
    fn finish(&mut self, closing: bool) {
        self.write();
        if closing || !self.waiting.is_empty() {
            self.sync();
            self.attest();
        }
        for waiting in self.waiting.drain(..) {
            let result = self
                .failed
                .as_ref()
                .map_or(Ok(()), |why| Err(io::Error::other(why.clone())));
            match waiting {
                Waiting::Callback(callback) => callback.io_completed(result),
                Waiting::Done(done) => drop(done.send(result)),
            }
        }
    }

    fn note(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            let why = error.into_io().to_string();
            tracing::error!(why, "the log cannot be written");
            self.failed.get_or_insert(why);
        }
    }
}
