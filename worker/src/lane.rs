//! The slow lane of a thread: what continues slowly makes way for what is new.
//!
//! A thread serves in the order of arrival. Thousands of slow clients that send a few bytes each at the same moment would keep
//! a whole request waiting until all of them were looked at, so only some of them are in each turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Passes of a turn; between two turns the thread looks at its sockets.
const PASSES_OF_A_TURN: usize = 8;

/// Who is on the slow lane. Clones are the same lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane(Rc<State>);

/// A place on the lane, of one connection.
#[derive(Debug, Default)]
pub(crate) struct Place {
    waits: Cell<bool>,
}

#[derive(Debug)]
struct State {
    /// Passes that are left of this turn, for newcomers and for those that waited.
    free: Cell<usize>,
    granted: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
    is_turning: Cell<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            free: Cell::new(PASSES_OF_A_TURN),
            granted: Cell::default(),
            waiting: RefCell::default(),
            is_turning: Cell::default(),
        }
    }
}

impl Lane {
    /// Ready when it is this place's turn, which the call uses up. Needs a local task set to run in.
    pub(crate) fn poll_pass(&self, place: &Place, cx: &Context<'_>) -> Poll<()> {
        let passes = match place.waits.get() {
            true => &self.0.granted,
            false => &self.0.free,
        };
        if let Some(left) = passes.get().checked_sub(1) {
            passes.set(left);
            place.waits.set(false);
            if !self.0.is_turning.replace(true) {
                tokio::task::spawn_local(turn(self.0.clone()));
            }
            return Poll::Ready(());
        }
        place.waits.set(true);
        // Who is here already is woken once more than it needs.
        self.0.waiting.borrow_mut().push_back(cx.waker().clone());
        Poll::Pending
    }
}

/// Turns until nobody has used a pass, or waits for one.
async fn turn(state: Rc<State>) {
    loop {
        // It comes back after the thread has looked at its sockets.
        tokio::task::yield_now().await;
        if !state.turn() {
            return;
        }
    }
}

impl State {
    /// Begins a turn; false where there is no use for one.
    fn turn(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let granted = waiting.len().min(PASSES_OF_A_TURN);
        let is_unused = granted == 0 && self.free.get() == PASSES_OF_A_TURN;
        self.granted.set(granted);
        self.free.set(PASSES_OF_A_TURN - granted);
        waiting.drain(..granted).for_each(Waker::wake);
        self.is_turning.set(!is_unused);
        !is_unused
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::{JoinSet, LocalSet, yield_now};

    use super::*;

    /// Lets so many places pass, and something new come meanwhile; returns how many had passed by then, and in all.
    async fn passed(count: usize) -> (usize, usize) {
        let (lane, passed) = (Lane::default(), Rc::new(Cell::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (lane, passed) = (lane.clone(), passed.clone());
            tasks.spawn_local(async move {
                let place = Place::default();
                poll_fn(|cx| lane.poll_pass(&place, cx)).await;
                passed.set(passed.get() + 1);
            });
        }
        yield_now().await;
        yield_now().await;
        let by_then = passed.get();
        tasks.join_all().await;
        (by_then, passed.get())
    }

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        LocalSet::new().block_on(&runtime.expect("a runtime"), future)
    }

    #[test]
    fn what_is_new_overtakes_those_on_the_lane_and_all_of_them_arrive() {
        let (by_then, in_all) = run(passed(5000));
        assert!(by_then < 5000 / 2, "{by_then}");
        assert_eq!(in_all, 5000);
    }

    #[test]
    fn few_pass_at_once() {
        assert_eq!(run(passed(10)), (10, 10));
    }

    #[test]
    fn who_waited_is_before_who_comes() {
        run(async {
            let lane = Lane::default();
            let cx = Context::from_waker(Waker::noop());
            let places: Vec<Place> = std::iter::repeat_with(Place::default)
                .take(2 * PASSES_OF_A_TURN)
                .collect();
            for place in &places {
                let _ = lane.poll_pass(place, &cx);
            }
            lane.0.turn();
            let late = Place::default();
            assert!(lane.poll_pass(&late, &cx).is_pending());
            for place in &places[PASSES_OF_A_TURN..] {
                assert!(lane.poll_pass(place, &cx).is_ready());
            }
        });
    }

    #[test]
    fn who_did_not_use_its_pass_waits_again() {
        run(async {
            let lane = Lane::default();
            let cx = Context::from_waker(Waker::noop());
            lane.0.free.set(0);
            let place = Place::default();
            assert!(lane.poll_pass(&place, &cx).is_pending());
            lane.0.turn();
            lane.0.turn();
            assert!(lane.poll_pass(&place, &cx).is_pending());
            lane.0.turn();
            assert!(lane.poll_pass(&place, &cx).is_ready());
        });
    }
}
