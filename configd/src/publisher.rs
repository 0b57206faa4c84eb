//! Turns new revisions of the object set into new versions of the pools' snapshots.

pub(crate) mod cause;
mod pace;
mod plan;
mod pool;
mod term;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_compiler::{Compilation, Compiler, ObjectKey, Settings};
use tidegate_store::{Command, ObjectFilter, Outcome, Store, StoreError, StoredObject};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use self::cause::Changed;
use crate::checked::CheckedObjects;
use crate::clock::unix_ms;
use crate::metrics::PublisherMetrics;
use crate::sealing::{Sealing, Unreadable};
use crate::statuses::{PoolHead, Statuses};
use crate::wire;

use pace::Pace;
pub(crate) use term::Term;

/// Wait before a failed publication is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Follows the object set and commits what the compiler makes of it.
pub(crate) struct Publisher {
    store: Store,
    sealing: Sealing,
    checked: CheckedObjects,
    statuses: Arc<Statuses>,
    metrics: PublisherMetrics,
    /// `None` only while a blocking thread works with it.
    compiler: Option<Compiler>,
    settings: Settings,
    /// The revision that the compiler knows; `None` before the first round.
    known: Option<u64>,
    /// The count of changes to the pools' marks that the last round has seen.
    marks: u64,
    /// The pools that were frozen, or in a rollout, in the last round.
    frozen: BTreeSet<String>,
    /// What this publisher committed last to each pool.
    committed: BTreeMap<String, pool::Committed>,
}

/// What is new to the compiler.
#[derive(Default)]
struct Changes {
    /// Whether these are all objects that there are.
    is_anew: bool,
    put: Vec<Arc<StoredObject>>,
    removed: Vec<ObjectKey>,
}

/// Why a revision could not be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The log did not take an entry.
    #[error("cannot commit a snapshot of pool {pool}")]
    Propose {
        /// The pool.
        pool: String,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The state refused an entry.
    #[error("snapshot of pool {pool} was refused: {outcome}")]
    Refused {
        /// The pool.
        pool: String,
        /// What the state said.
        outcome: String,
    },
    /// A Secret is sealed by a key that this configd does not have.
    #[error("a stored Secret cannot be read")]
    Open(#[source] Unreadable),
    /// The compiler panicked; the object set that made it do so is still stored.
    #[error("the compiler failed on revision {revision}; older snapshots stay in use")]
    Compiler {
        /// The object set.
        revision: u64,
    },
}

impl Publisher {
    /// A publisher that knows nothing yet.
    pub(crate) fn new(
        store: Store,
        (sealing, checked): (Sealing, CheckedObjects),
        settings: Settings,
        statuses: Arc<Statuses>,
        metrics: PublisherMetrics,
    ) -> Self {
        let compiler = Some(Compiler::new(settings.clone()));
        Self {
            store,
            sealing,
            checked,
            statuses,
            metrics,
            compiler,
            settings,
            known: None,
            marks: 0,
            frozen: BTreeSet::new(),
            committed: BTreeMap::new(),
        }
    }

    /// Publishes until `end`.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut revisions = self.store.watch_revision();
        let mut marks = self.store.watch_marks();
        if let Err(error) = self.sealing.renew(&self.store).await {
            error!(
                error = crate::error::chain(&error),
                "Sealing Secrets anew failed."
            );
        }
        let mut pace = Pace::new(Instant::now());
        loop {
            revisions.mark_unchanged();
            marks.mark_unchanged();
            let started = Instant::now();
            self.checked.renew(started);
            let pause = match self.publish().await {
                Ok(()) => pace.pause(started, Instant::now()),
                Err(error) => {
                    error!(error = crate::error::chain(&error), "Publishing failed.");
                    self.forget();
                    RETRY
                }
            };
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if !self.is_current() {
                continue;
            }
            tokio::select! {
                () = end.cancelled() => return,
                changed = revisions.changed() => if changed.is_err() { return },
                changed = marks.changed() => if changed.is_err() { return },
            }
        }
    }

    fn is_current(&self) -> bool {
        self.known == Some(self.store.revision())
            && self.marks == *self.store.watch_marks().borrow()
    }

    async fn publish(&mut self) -> Result<(), PublishError> {
        if self.is_current() {
            return Ok(());
        }
        let started = Instant::now();
        let marks = *self.store.watch_marks().borrow();
        let revision = self.store.revision();
        let (changes, changed) = self.changes(revision);
        let compilation = self.compile(revision, changes).await?;
        self.metrics.compiled(started.elapsed());
        let heads = self.commit(revision, &compilation, &changed).await?;
        let changed_at = |key: &ObjectKey| {
            let object = self.store.get(key);
            object.map(|object| object.revision)
        };
        self.statuses
            .publish((revision, marks), compilation, &heads, changed_at);
        let frozen = heads.iter().filter(|(_, head)| head.freeze.is_some());
        self.frozen = frozen.map(|(pool, _)| pool.clone()).collect();
        (self.known, self.marks) = (Some(revision), marks);
        debug!(
            revision,
            elapsed_us = started.elapsed().as_micros() as u64,
            "Revision published."
        );
        Ok(())
    }

    /// Starts from nothing at the next round.
    fn forget(&mut self) {
        self.compiler = Some(Compiler::new(self.settings.clone()));
        self.known = None;
        self.committed.clear();
    }

    /// What the compiler does not know yet, and how that is told.
    fn changes(&self, revision: u64) -> (Changes, Changed) {
        let keys = self.known.and_then(|known| self.store.changes_since(known));
        let Some(keys) = keys else {
            let all = Changes {
                is_anew: true,
                put: self.store.objects(&ObjectFilter::default()).1,
                removed: vec![],
            };
            return (
                all,
                Changed::all(format!("all objects at revision {revision}")),
            );
        };
        let told = Changed::of(keys.iter());
        let mut changes = Changes::default();
        for key in keys {
            match self.store.get(&key) {
                Some(object) => changes.put.push(object),
                None => changes.removed.push(key),
            }
        }
        (changes, told)
    }

    /// Hands changes to the compiler and compiles, on a blocking thread: both take milliseconds where they are many.
    async fn compile(
        &mut self,
        revision: u64,
        changes: Changes,
    ) -> Result<Compilation, PublishError> {
        let mut compiler = self.compiler.take().expect("no compilation is running");
        if changes.is_anew {
            compiler = Compiler::new(self.settings.clone());
        }
        let (sealing, checked) = (self.sealing.clone(), self.checked.clone());
        let compiled = tokio::task::spawn_blocking(move || {
            for object in &changes.put {
                match checked.take(&object.key, &object.content) {
                    Some(checked) => {
                        let object = wire::compiler_object(object, object.content.clone());
                        compiler.put_checked(&object, checked);
                    }
                    None => put(&mut compiler, object, &sealing)?,
                }
            }
            for key in &changes.removed {
                compiler.remove(key);
            }
            let compilation = compiler.compile();
            Ok::<_, PublishError>((compiler, compilation))
        });
        let (compiler, compilation) = compiled
            .await
            .map_err(|_| PublishError::Compiler { revision })??;
        self.compiler = Some(compiler);
        Ok(compilation)
    }

    /// Commits a new version of every pool that differs, and returns every pool's head.
    async fn commit(
        &mut self,
        revision: u64,
        compilation: &Compilation,
        changed: &Changed,
    ) -> Result<BTreeMap<String, PoolHead>, PublishError> {
        let known = self.store.pools();
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let empty = Arc::default();
        let gone = known
            .iter()
            .filter(|pool| !compilation.pools.contains_key(*pool));
        let gone = gone.map(|pool| (pool, &empty));
        let mut heads = BTreeMap::new();
        for (pool, parts) in compilation.pools.iter().chain(gone) {
            let round = pool::Round {
                revision,
                changed,
                pool,
                parts,
            };
            if let Some(head) = self.commit_pool(&round).await? {
                heads.insert(pool.clone(), head);
            }
        }
        Ok(heads)
    }

    async fn propose_plan(&self, plan: plan::Plan) -> Result<u64, PublishError> {
        let pool = plan.commit.pool.clone();
        for blobs in plan.staged {
            self.propose(&pool, Command::StageBlobs(blobs)).await?;
        }
        let mut commit = plan.commit;
        commit.committed_at_unix_ms = unix_ms();
        match self.propose(&pool, Command::CommitSnapshot(commit)).await? {
            Outcome::Committed { version } => Ok(version),
            outcome => Err(PublishError::Refused {
                pool,
                outcome: format!("{outcome:?}"),
            }),
        }
    }

    async fn propose(&self, pool: &str, command: Command) -> Result<Outcome, PublishError> {
        let failed = |source| PublishError::Propose {
            pool: pool.to_owned(),
            source,
        };
        self.store.propose_as_leader(command).await.map_err(failed)
    }
}

/// ObjectService refuses what the compiler cannot read, so a refusal here is a change of the rules
/// between two releases: the object is treated as absent and said so.
///
/// # Errors
/// Where a Secret cannot be opened: without it listeners would lose their certificates, so nothing is published.
fn put(
    compiler: &mut Compiler,
    object: &StoredObject,
    sealing: &Sealing,
) -> Result<(), PublishError> {
    let content = sealing.opened(object).map_err(PublishError::Open)?;
    if let Err(invalid) = compiler.put(wire::compiler_object(object, content)) {
        let first = invalid
            .first()
            .map(|field| format!("{}: {}", field.path, field.message));
        error!(
            object = %object.key,
            cause = first.unwrap_or_default(),
            "A stored object cannot be read by this release and is left out."
        );
    }
    Ok(())
}
