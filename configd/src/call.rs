//! One call of a gRPC method, from its request to its answer: its id, its record, its line in the log.

mod answer;
mod gate;
mod id;

use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::Event;

pub(crate) use gate::Gate;
pub(crate) use id::CallId;

tokio::task_local! {
    /// The call that a handler answers, for what it records on the way.
    static CURRENT: CallId;
}

/// What is to be recorded of a call that changes state; its handler fills it in. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    event: Event,
    is_only_tried: bool,
    is_passed_on: bool,
}

impl Call {
    /// The pool or source that it is about, and why, in the caller's words.
    pub(crate) fn about(&self, pool: &str, reason: &str) -> &Self {
        self.change(|record| record.event.of_pool(pool, reason))
    }

    /// The source that it is about, and why, in the caller's words.
    pub(crate) fn about_source(&self, source: &str, reason: &str) -> &Self {
        self.change(|record| record.event.of_source(source, reason))
    }

    /// One of the things that it changes: "pin version 3".
    pub(crate) fn changes(&self, change: impl Into<String>) -> &Self {
        self.change(|record| record.event.changes(&change.into()))
    }

    /// The revision of the object set that has its changes.
    pub(crate) fn stored(&self, revision: u64) {
        self.change(|record| record.event.revision = revision);
    }

    /// That it changes nothing after all, as a dry run does; it leaves no record where it succeeds.
    pub(crate) fn is_only_tried(&self) {
        self.change(|record| record.is_only_tried = true);
    }

    /// That another configd answers it, and records it.
    pub(crate) fn is_passed_on(&self) {
        self.change(|record| record.is_passed_on = true);
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> &Self {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut record);
        drop(record);
        self
    }

    /// What is recorded; `None` for what another configd records, and for what was only tried and has succeeded.
    fn event(&self, has_failed: bool) -> Option<Event> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left_out = record.is_passed_on || (record.is_only_tried && !has_failed);
        (!is_left_out).then(|| record.event.clone())
    }
}

/// Work that goes on in a task of its own as part of the call that is being answered.
pub(crate) fn carried_on<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let id = CURRENT.try_with(CallId::clone).ok();
    async move {
        match id {
            Some(id) => CURRENT.scope(id, work).await,
            None => work.await,
        }
    }
}

/// The id of the call that is being answered; empty in tasks that outlive it.
pub(crate) fn current_id() -> String {
    CURRENT.try_with(ToString::to_string).unwrap_or_default()
}
