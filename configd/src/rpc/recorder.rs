//! Writes what callers ask for, and leaves a record of each write and each refusal.

use tidegate_store::{Command, Outcome, Store};
use tonic::Status;

use crate::audit::{AuditLog, Event};
use crate::error;

/// The store behind the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) store: Store,
    pub(crate) audit: AuditLog,
}

impl Recorder {
    /// Proposes a change and records what came of it: what `read` makes of the outcome, with the revision that contains
    /// it. A change that is stored but not recorded is no success: its caller has to know.
    pub(crate) async fn write<T>(
        &self,
        event: Event,
        command: Command,
        read: impl FnOnce(Outcome) -> Result<(u64, T), Status>,
    ) -> Result<T, Status> {
        self.audit.check()?;
        let answer = self.propose(command).await.and_then(read);
        let outcome = answer.as_ref().map(|(revision, _)| *revision);
        let recorded = self.audit.write(event.ended(outcome)).await;
        match (answer, recorded) {
            (answer, Ok(())) => answer.map(|(_, answer)| answer),
            (Ok((revision, _)), Err(unrecorded)) => Err(Status::unavailable(format!(
                "stored as revision {revision}, but without a record of it: {}",
                unrecorded.message()
            ))),
            (Err(_), Err(unrecorded)) => Err(unrecorded),
        }
    }

    /// Proposes a change that is recorded with another, or not worth a record.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, Status> {
        let outcome = self.store.propose(command).await;
        outcome.map_err(|error| error::store(&error))
    }

    /// Records a refusal, and hands it on.
    pub(crate) fn refused(&self, event: Event, status: Status) -> Status {
        self.audit.refused(event.ended(Err(&status)));
        status
    }
}
