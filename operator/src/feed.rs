//! Feeds the objects of the cluster to configd: a full set at the beginning of a session, then each change.

mod batch;
mod kept;
mod refusal;
mod selection;
mod session;

use std::time::Duration;

use tidegate_runtime::backoff::{Backoff, SplitMix64};
use tidegate_runtime::ready::Condition;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cluster::Mirror;
use crate::configd::Configds;
use crate::error::chain;
use crate::events::Events;
use crate::lease::Leadership;
use crate::metrics::OperatorMetrics;
use session::{Kept, Session, SessionError};

/// The first and the longest pause between two sessions.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// What the feed needs.
pub(crate) struct Feed {
    pub(crate) mirror: Mirror,
    pub(crate) configds: Configds,
    /// The name of the cluster at configd.
    pub(crate) source: String,
    /// Which cluster of that name it is: the uid of its namespace `kube-system`.
    pub(crate) incarnation: String,
    /// How long the source may be silent.
    pub(crate) lease: Duration,
    /// Who writes, for the records of a configd without certificates.
    pub(crate) writer: String,
    pub(crate) leadership: Leadership,
    pub(crate) events: Events,
    pub(crate) metrics: OperatorMetrics,
    pub(crate) condition: Condition,
    /// The revision of the last write.
    pub(crate) revision: watch::Sender<u64>,
}

impl Feed {
    /// Feeds for as long as this process leads, again and again, until it is dropped.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(BACKOFF[0], BACKOFF[1], SplitMix64::from_process());
        let mut kept = Kept::new();
        loop {
            self.wait_for_the_cluster().await;
            self.condition.set();
            self.leadership.held().await;
            let error = tokio::select! {
                error = self.session(&mut backoff, &mut kept) => error,
                () = self.leadership.lost() => {
                    // What is deleted while another one leads, this one does not know.
                    kept.clear();
                    info!("Another operator leads; this one stands by.");
                    continue;
                }
            };
            self.metrics.sessions_ended.inc();
            self.configds.advance();
            let delay = backoff.next_delay();
            let cause = chain(&error);
            match error {
                SessionError::Fenced => {
                    warn!(cause, "Another writer has opened a session of this source.");
                }
                _ => warn!(
                    cause,
                    ?delay,
                    "The session with configd ended; another one begins."
                ),
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Says what keeps the set from being whole for as long as that is so.
    async fn wait_for_the_cluster(&self) {
        loop {
            let changed = self.mirror.watch_missing();
            let Some(missing) = self.mirror.missing() else {
                return;
            };
            self.condition.unset(missing);
            tokio::select! {
                () = self.mirror.whole() => {}
                () = changed => {}
            }
        }
    }

    async fn session(&self, backoff: &mut Backoff, kept: &mut Kept) -> SessionError {
        let mut session = match Session::open(self, kept).await {
            Ok(session) => session,
            Err(error) => return error,
        };
        if let Err(error) = session.resync().await {
            return error;
        }
        backoff.reset();
        let Err(error) = session.follow().await;
        error
    }
}
