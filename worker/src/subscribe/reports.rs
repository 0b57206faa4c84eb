//! What this worker has answered, said to configd as often as that asks for.

use std::time::Duration;

use tidegate_proto::snapshots::v1::SubscribeRequest;
use tidegate_proto::snapshots::v1::subscribe_request::Message as Say;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::metrics::WorkerMetrics;

/// The shortest time between two reports: each looks at all series of all threads.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Says nothing until it is asked to.
pub(super) struct Reports {
    metrics: WorkerMetrics,
    to: mpsc::Sender<SubscribeRequest>,
    due: Option<Interval>,
}

impl Reports {
    pub(super) fn new(metrics: WorkerMetrics, to: mpsc::Sender<SubscribeRequest>) -> Self {
        Self {
            metrics,
            to,
            due: None,
        }
    }

    /// Says it so often from now on; 0 for not any more.
    pub(super) fn every(&mut self, every_ms: u32) {
        let every = Duration::from_millis(every_ms.into()).max(EVERY_MIN);
        self.due = (every_ms > 0).then(|| {
            let mut due = interval(every);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        });
    }

    /// Waits for something, and says it meanwhile.
    pub(super) async fn meanwhile<T>(&mut self, waited_for: impl Future<Output = T>) -> T {
        let mut waited_for = std::pin::pin!(waited_for);
        loop {
            tokio::select! {
                heard = &mut waited_for => return heard,
                () = tick(&mut self.due) => self.say(),
            }
        }
    }

    fn say(&self) {
        let request = SubscribeRequest {
            message: Some(Say::Traffic(self.metrics.traffic())),
        };
        // Where answers wait to be sent, the next report says it all again.
        let _ = self.to.try_send(request);
    }
}

async fn tick(due: &mut Option<Interval>) {
    match due {
        Some(due) => drop(due.tick().await),
        None => std::future::pending().await,
    }
}
