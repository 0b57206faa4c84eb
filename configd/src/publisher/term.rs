//! The publisher's time in office: it works while this configd leads, and forgets everything when that ends.

use std::sync::Arc;
use std::time::Duration;

use tidegate_compiler::Settings;
use tidegate_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Publisher;
use crate::checked::CheckedObjects;
use crate::metrics::PublisherMetrics;
use crate::sealing::Sealing;
use crate::statuses::Statuses;

/// Time to learn what was written before; then it is asked again who leads.
const READY_ROUND: Duration = Duration::from_secs(5);

/// What each publisher is made of.
pub(crate) struct Term {
    pub(crate) store: Store,
    /// What stored objects are read with.
    pub(crate) read: (Sealing, CheckedObjects),
    pub(crate) settings: Settings,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) metrics: PublisherMetrics,
}

impl Term {
    /// Publishes whenever this configd leads, until `end`.
    pub(crate) async fn run_whenever_leading(self, end: CancellationToken) {
        let mut leads = self.store.watch_leader();
        let terms = Box::pin(async {
            loop {
                if leads.wait_for(|leads| *leads).await.is_err() {
                    return;
                }
                // What was written before this term must be known first.
                if self.store.ready(READY_ROUND).await.is_err() {
                    continue;
                }
                info!("This configd leads and publishes.");
                let publisher = Publisher::new(
                    self.store.clone(),
                    self.read.clone(),
                    self.settings.clone(),
                    self.statuses.clone(),
                    self.metrics.clone(),
                );
                // What is cut off may still be committed; then the next leader builds upon it.
                tokio::select! {
                    () = publisher.run(end.clone()) => return,
                    over = leads.wait_for(|leads| !*leads) => if over.is_err() { return },
                }
                info!("Another configd leads.");
                self.statuses.clear();
                self.read.1.clear();
            }
        });
        end.run_until_cancelled(terms).await;
    }
}
