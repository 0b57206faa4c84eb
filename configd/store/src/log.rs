//! The Raft log: openraft's storage interface in front of one writer thread that owns the files.
//!
//! Entries since the last image are kept in memory as well, so the disk is only read when the store opens.

mod contents;
mod frame;
mod journal;
mod medium;
mod record;
mod scan;
mod wire;
mod writer;

use std::{
    fmt::Debug,
    io,
    ops::RangeBounds,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    EntryPayload, OptionalSend, RaftLogReader,
    entry::RaftEntry as _,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    StoreError, level,
    raft::{Entry, LogId, Payload, TypeConfig, Vote},
};
use contents::Contents;
pub(crate) use frame::Link;
use journal::Journal;
pub(crate) use journal::Past;
pub(crate) use medium::{Medium, Witness};
use record::Record;
pub(crate) use wire::{
    MembershipWire, decode_membership, encode_membership, entry, entry_wire, log_id, log_id_wire,
};
use writer::{Request, Writer};

/// Requests that wait for the writer, at most; openraft waits when there are more.
const QUEUE_LEN_MAX: usize = 1_024;

/// The log of one node. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    /// What is in the log, as readers see it: at once, not only when it is durable.
    view: Arc<Mutex<Contents>>,
    requests: mpsc::Sender<Request>,
}

impl Log {
    /// Reads and checks the whole log, then starts its writer. A segment has `segment_bytes`; `dir` is for messages.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when something that was acknowledged is not as it was written.
    pub(crate) fn open(
        medium: impl Medium,
        segment_bytes: u64,
        past: Past,
        dir: &Path,
    ) -> Result<Self, StoreError> {
        let (journal, contents) = Journal::open(medium, segment_bytes, past, dir)?;
        let (requests, queue) = mpsc::channel(QUEUE_LEN_MAX);
        let writer = Writer::new(journal);
        std::thread::Builder::new()
            .name("store-log".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(StoreError::io("start the writer of", dir))?;
        Ok(Self {
            view: Arc::new(Mutex::new(contents)),
            requests,
        })
    }

    /// Index of the last entry that is or was in the log; `None` where there never was one.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.view().last().map(|id| id.index)
    }

    /// Index of the last entry that is gone because an image contains it.
    pub(crate) fn purged_index(&self) -> Option<u64> {
        self.view().state.purged.map(|id| id.index)
    }

    /// The feature level that the cluster has by the entries of the log; 0 where they say nothing of it.
    pub(crate) fn level(&self) -> u32 {
        let view = self.view();
        let levels = view.entries.values().map(|entry| match &entry.payload {
            EntryPayload::Normal(Payload { bytes, .. }) => level::raised_by(bytes),
            // A log begins with those who founded the cluster.
            EntryPayload::Membership(founders) if entry.index() == 0 => level::founded_at(founders),
            _ => 0,
        });
        levels.max().unwrap_or(0)
    }

    /// Keeps the vote that was given, and no lead that was won by it. After a restart openraft would lead on in the same term:
    /// the end of the log, which the others may have had before this disk, would be written again with other entries, and
    /// reads would be answered without what was committed last.
    pub(crate) fn give_up_lead(&self) {
        if let Some(vote) = &mut self.view().state.vote {
            vote.committed = false;
        }
    }

    /// Stops the writer after everything before is on the disk.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }

    fn view(&self) -> MutexGuard<'_, Contents> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: impl FnOnce(writer::Done) -> Request) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.requests
            .send(request(done))
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log's writer has stopped")
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self
            .view()
            .entries
            .range(range)
            .map(|(_, entry)| entry.clone())
            .collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.view().state.vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = self.view();
        Ok(LogState {
            last_purged_log_id: view.state.purged,
            last_log_id: view.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.ask(|done| Request::Vote { vote, done }).await?;
        self.view().state.vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.view().state.committed = committed;
        // Not waited for: it travels with the next batch. A start that finds an older one applies the rest
        // of the log once the node leads.
        self.requests
            .send(Request::Committed { committed })
            .await
            .map_err(|_| stopped())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.view().state.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.view()
            .entries
            .extend(entries.iter().map(|entry| (entry.index(), entry.clone())));
        let request = Request::Append { entries, callback };
        self.requests.send(request).await.map_err(|_| stopped())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first_gone = last.map_or(0, |last| last.index + 1);
        self.view().apply(Record::Truncated { first_gone });
        self.ask(|done| Request::Truncate { first_gone, done })
            .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.view().apply(Record::Purged(upto));
        self.ask(|done| Request::Purge { upto, done }).await
    }
}

#[cfg(test)]
mod tests;
