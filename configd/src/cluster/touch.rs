//! Whether this replica is in touch with a leader that a quorum follows; one that is not sends its workers away.

use std::time::Duration;

use tidegate_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Time between two looks.
const ROUND: Duration = Duration::from_secs(4);

/// Looks in a row without success after which touch is lost; an election takes less.
const ROUNDS_MAX: u32 = 3;

/// Keeps `touch` current until `end`.
pub(crate) async fn keep_current(store: Store, touch: watch::Sender<bool>, end: CancellationToken) {
    let mut failed = 0;
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let looking = async {
        loop {
            rounds.tick().await;
            failed = match store.linearize().await {
                Ok(()) => 0,
                Err(_) => failed + 1,
            };
            let in_touch = failed < ROUNDS_MAX;
            if touch.send_if_modified(|before| std::mem::replace(before, in_touch) != in_touch)
                && !in_touch
            {
                warn!("This configd is out of touch with its cluster; workers are sent to others.");
            }
        }
    };
    end.run_until_cancelled(looking).await;
}
