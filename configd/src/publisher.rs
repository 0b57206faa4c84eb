//! Turns new revisions of the object set into new versions of the pools' snapshots.

mod cause;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_compiler::{Compilation, Compiler, Settings};
use tidegate_store::{Command, ObjectFilter, Outcome, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::clock::unix_ms;
use crate::metrics::PublisherMetrics;
use crate::name;
use crate::pools::heads;
use crate::sealing::{Sealing, Unreadable};
use crate::statuses::Statuses;
use crate::wire;

/// While changes keep coming, a pool gets a new version at most this often.
const PAUSE: Duration = Duration::from_millis(20);

/// Wait before a failed publication is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Follows the object set and commits what the compiler makes of it.
pub(crate) struct Publisher {
    store: Store,
    sealing: Sealing,
    statuses: Arc<Statuses>,
    metrics: PublisherMetrics,
    /// `None` only while a blocking thread works with it.
    compiler: Option<Compiler>,
    settings: Settings,
    /// The revision that the compiler knows; `None` before the first round.
    known: Option<u64>,
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
        sealing: Sealing,
        settings: Settings,
        statuses: Arc<Statuses>,
        metrics: PublisherMetrics,
    ) -> Self {
        let compiler = Some(Compiler::new(settings.clone()));
        Self {
            store,
            sealing,
            statuses,
            metrics,
            compiler,
            settings,
            known: None,
        }
    }

    /// Publishes until `end`.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut revisions = self.store.watch_revision();
        if let Err(error) = self.sealing.renew(&self.store).await {
            error!(
                error = crate::error::chain(&error),
                "Sealing Secrets anew failed."
            );
        }
        loop {
            revisions.mark_unchanged();
            let pause = match self.publish().await {
                Ok(()) => PAUSE,
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
            if self.known != Some(self.store.revision()) {
                continue;
            }
            tokio::select! {
                () = end.cancelled() => return,
                changed = revisions.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn publish(&mut self) -> Result<(), PublishError> {
        let started = Instant::now();
        let revision = self.store.revision();
        if self.known == Some(revision) {
            return Ok(());
        }
        let changed = self.feed_compiler(revision)?;
        let compilation = self.compile(revision).await?;
        self.metrics.compiled(started.elapsed());
        let heads = self
            .commit(revision, &compilation, &cause::describe(&changed))
            .await?;
        self.statuses.publish(revision, compilation, &heads);
        self.known = Some(revision);
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
    }

    /// Hands the objects that changed to the compiler, and returns their names.
    fn feed_compiler(&mut self, revision: u64) -> Result<Vec<String>, PublishError> {
        let compiler = self.compiler.as_mut().expect("no compilation is running");
        let changes = self.known.and_then(|known| self.store.changes_since(known));
        let Some(keys) = changes else {
            *compiler = Compiler::new(self.settings.clone());
            for object in self.store.objects(&ObjectFilter::default()).1 {
                put(compiler, &object, &self.sealing)?;
            }
            return Ok(vec![format!("all objects at revision {revision}")]);
        };
        for key in &keys {
            match self.store.get(key) {
                Some(object) => put(compiler, &object, &self.sealing)?,
                None => compiler.remove(&wire::compiler_key(key)),
            }
        }
        Ok(keys.iter().map(name::of).collect())
    }

    /// Compiles on a blocking thread: at 10,000 routes it takes milliseconds.
    async fn compile(&mut self, revision: u64) -> Result<Compilation, PublishError> {
        let mut compiler = self.compiler.take().expect("no compilation is running");
        let compiled = tokio::task::spawn_blocking(move || {
            let compilation = compiler.compile();
            (compiler, compilation)
        });
        let (compiler, compilation) = compiled
            .await
            .map_err(|_| PublishError::Compiler { revision })?;
        self.compiler = Some(compiler);
        Ok(compilation)
    }

    /// Commits a new version of every pool that differs, and returns every pool's head version.
    async fn commit(
        &self,
        revision: u64,
        compilation: &Compilation,
        cause: &str,
    ) -> Result<BTreeMap<String, u64>, PublishError> {
        let mut heads: BTreeMap<String, u64> = heads(&self.store)
            .iter()
            .map(|head| (head.pool.to_string(), head.version))
            .collect();
        let empty = Arc::default();
        let gone = heads
            .keys()
            .filter(|pool| !compilation.pools.contains_key(*pool))
            .cloned();
        let gone: Vec<String> = gone.collect();
        let pools = compilation
            .pools
            .iter()
            .chain(gone.iter().map(|pool| (pool, &empty)));
        for (pool, parts) in pools {
            let parent = heads.get(pool).copied().unwrap_or(0);
            let manifest = self.store.manifest(pool, parent);
            let Some(plan) = plan::plan(
                pool,
                parent,
                manifest.as_deref().map_or(&[], Vec::as_slice),
                parts,
                &self.sealing.seal_parts(parts),
                |digest| self.store.has_blob(digest),
            ) else {
                continue;
            };
            let version = self.carry_out(plan, revision, cause).await?;
            info!(%pool, version, revision, cause, "Snapshot committed.");
            heads.insert(pool.clone(), version);
        }
        Ok(heads)
    }

    async fn carry_out(
        &self,
        plan: plan::Plan,
        revision: u64,
        cause: &str,
    ) -> Result<u64, PublishError> {
        let pool = plan.commit.pool.clone();
        for blobs in plan.staged {
            self.propose(&pool, Command::StageBlobs(blobs)).await?;
        }
        let mut commit = plan.commit;
        commit.revision = revision;
        commit.committed_at_unix_ms = unix_ms();
        commit.cause = cause.to_owned();
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
        self.store.propose(command).await.map_err(failed)
    }
}

/// ObjectService refuses what the compiler cannot read, so a refusal here is a change of the rules
/// between two releases: the object is treated as absent and said so.
///
/// # Errors
/// Where a Secret cannot be opened: without it listeners would lose their certificates, so nothing is published.
fn put(
    compiler: &mut Compiler,
    object: &tidegate_store::StoredObject,
    sealing: &Sealing,
) -> Result<(), PublishError> {
    let content = sealing.opened(object).map_err(PublishError::Open)?;
    if let Err(invalid) = compiler.put(wire::compiler_object(object, content)) {
        let first = invalid
            .first()
            .map(|field| format!("{}: {}", field.path, field.message));
        error!(
            object = name::of(&object.key),
            cause = first.unwrap_or_default(),
            "A stored object cannot be read by this release and is left out."
        );
    }
    Ok(())
}
