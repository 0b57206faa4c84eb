//! How many workers are sent a lot at the same moment: a fleet that comes back all at once is served in turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Parts of an update that is sent without waiting: what changes in the life of a pool, not all of it.
const PARTS_MAX: usize = 256;

/// Workers that are sent more than that at a time.
const PLACES: usize = 32;

/// A worker that has not answered by then makes room for another one.
const HELD_MAX: Duration = Duration::from_secs(5);

/// The places of all workers of this configd. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    places: Arc<Semaphore>,
    held_max: Duration,
}

/// A worker's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    until: Instant,
}

impl Default for Bulk {
    fn default() -> Self {
        Self::new(PLACES, HELD_MAX)
    }
}

impl Bulk {
    fn new(places: usize, held_max: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            held_max,
        }
    }

    /// A place, when there is one.
    pub(super) async fn place(&self) -> Place {
        let permit = self.places.clone().acquire_owned().await;
        Place {
            _permit: permit.expect("it is never closed"),
            until: Instant::now() + self.held_max,
        }
    }
}

impl Place {
    /// Whether it has been held for too long.
    pub(super) fn is_late(&self) -> bool {
        self.until <= Instant::now()
    }
}

/// Whether an update of so many parts needs a place.
pub(super) fn needs_place(parts: usize) -> bool {
    parts > PARTS_MAX
}

/// Does this while the place is held, and goes on without it once it has been held for too long.
pub(super) async fn holding<F: Future>(place: &mut Option<Place>, work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    if let Some(until) = place.as_ref().map(|place| place.until) {
        if let Ok(done) = tokio::time::timeout_at(until, &mut work).await {
            return done;
        }
        *place = None;
    }
    work.await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_worker_that_takes_nothing_makes_room_for_another_one() {
        let bulk = Bulk::new(1, Duration::from_millis(10));
        let mut stuck = Some(bulk.place().await);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { holding(&mut stuck, pending::<()>()).await });
        let mut place = Some(bulk.place().await);
        assert_eq!(holding(&mut place, ready(7)).await, 7);
    }

    #[tokio::test]
    async fn who_takes_what_it_is_sent_keeps_its_place_meanwhile() {
        let bulk = Bulk::new(1, Duration::from_secs(3_600));
        let mut place = Some(bulk.place().await);
        holding(&mut place, tokio::task::yield_now()).await;
        assert_eq!(bulk.places.available_permits(), 0);
        drop(place);
        assert_eq!(bulk.places.available_permits(), 1);
    }
}
