//! Writes what callers ask for, and leaves a record of each write and each refusal.

use tidegate_runtime::tasks::Tasks;
use tidegate_store::{Command, Outcome, Store};
use tonic::Status;

use crate::audit::{AuditLog, Event};
use crate::error;

/// The store behind the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) store: Store,
    pub(crate) audit: AuditLog,
    /// What is begun here is ended, whether or not the caller waits for it.
    pub(crate) tasks: Tasks,
}

impl Recorder {
    /// Proposes a change and records what came of it: what `read` makes of the outcome, with the revision that contains
    /// it. A change that is stored but not recorded is no success: its caller has to know.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        event: Event,
        command: Command,
        read: impl FnOnce(Outcome) -> Result<(u64, T), Status> + Send + 'static,
    ) -> Result<T, Status> {
        self.audit.check()?;
        let own = self.clone();
        // A caller that goes drops its request, and would take the record along.
        let writing = self.tasks.spawn("write", async move {
            let answer = own.propose(command).await.and_then(read);
            own.record(event, answer).await
        });
        let answer = writing.await;
        answer.map_err(|_| Status::internal("the write failed; configd's log says why"))?
    }

    async fn record<T>(&self, event: Event, answer: Result<(u64, T), Status>) -> Result<T, Status> {
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
