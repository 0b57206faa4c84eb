//! Sources that are silent: seen by the time since their last sign of life, and withdrawn where their policy says so.

mod leases;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_proto::raft::v1::ChangeSource;
use tidegate_proto::raft::v1::change_source::Change;
use tidegate_store::{Command, Outcome, Source, Store};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use leases::Standing;

use crate::audit::{AuditLog, Event};
use crate::clock;
use leases::Leases;

/// Time between two looks at the leases.
const LOOK: Duration = Duration::from_secs(1);

/// What a withdrawal is called in the audit log, which has methods otherwise.
const WITHDRAWAL: &str = "withdrawal of a silent source";

/// Who is heard of, as far as this configd has seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchman {
    leases: Arc<Mutex<Leases>>,
}

impl Watchman {
    /// Whether a source is heard of.
    pub(crate) fn standing(&self, name: &str, source: &Source) -> Standing {
        self.leases().standing(name, source, Instant::now())
    }

    /// Looks at the leases until the end; the leader withdraws who is silent for too long.
    pub(crate) async fn run(self, store: Store, audit: AuditLog, end: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        let mut led = false;
        while end.run_until_cancelled(look.tick()).await.is_some() {
            let sources = store.sources();
            let leads = store.is_leader();
            let due = {
                let mut leases = self.leases();
                // A new leader has not heard what the one before did: everybody has a whole lease again.
                if leads && !led {
                    leases.forget();
                }
                leases.observe(&sources, Instant::now());
                leases.due(&sources, Instant::now())
            };
            led = leads;
            for (name, renewed) in due.into_iter().filter(|_| leads) {
                withdraw(&store, &audit, &name, renewed).await;
            }
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn withdraw(store: &Store, audit: &AuditLog, source: &str, renewed: u64) {
    let command = Command::ChangeSource(ChangeSource {
        source: source.to_owned(),
        at_unix_ms: clock::unix_ms(),
        change: Some(Change::Withdraw(renewed)),
    });
    match store.propose_as_leader(command).await {
        Ok(Outcome::Applied { revision, changed }) => {
            info!(
                source,
                objects = changed,
                revision,
                "A source is silent; its objects were withdrawn, as its policy says."
            );
            let event = Event {
                caller: "configd".to_owned(),
                method: WITHDRAWAL.to_owned(),
                source: source.to_owned(),
                changes_total: changed.into(),
                ..Event::default()
            };
            if let Err(status) = audit.write(event.ended(Ok(revision))).await {
                warn!(
                    source,
                    message = status.message(),
                    "The withdrawal has no record."
                );
            }
        }
        // It was heard of meanwhile.
        Ok(_) => {}
        Err(error) => {
            let error = crate::error::chain(&error);
            warn!(
                source,
                error, "A silent source could not be withdrawn; it is tried again."
            );
        }
    }
}
