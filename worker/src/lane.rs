//! The slow lane of a thread: what continues slowly, and who wants much at once, makes way for what is new.
//!
//! A thread serves in the order of arrival. Thousands of slow clients that send a few bytes each at the same moment, or a
//! few that send without end, would keep a whole request waiting until all of them were looked at, so only some of them are
//! in each turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Passes of a turn, which are fewer where turns take long; between two turns the thread looks at its sockets. Most requests
/// of a busy HTTP/2 connection come together and take the lane: looking after each few costs twice the processor's time.
const PASSES_OF_A_TURN: usize = 64;
const PASSES_OF_A_LONG_TURN: usize = 1;

/// What a turn is to take at most where others are served, so that somebody new waits about that long.
const TURN: Duration = Duration::from_micros(100);

/// The same where nobody is but those on the lane: nobody waits, and looking at sockets more often costs time.
const TURN_ALONE: Duration = Duration::from_micros(500);

/// How long others are expected again after one of them.
const OTHERS_TIME: Duration = Duration::from_millis(100);

/// Who is on the slow lane. Clones are the same lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane(Rc<State>);

/// A place on the lane, of one connection.
#[derive(Debug, Default)]
pub(crate) struct Place(Rc<RefCell<Waits>>);

/// Whether a place waits for a pass.
#[derive(Debug, Default)]
enum Waits {
    #[default]
    No,
    /// In line; whoever polled last is to be woken.
    InLine(Waker),
    /// It has a pass.
    Granted,
}

#[derive(Debug)]
struct State {
    /// Passes of this turn.
    passes: Cell<usize>,
    /// Those of them that are left for those that come.
    free: Cell<usize>,
    /// In the order in which they came, each once. A place that is gone is skipped.
    line: RefCell<VecDeque<Weak<RefCell<Waits>>>>,
    is_turning: Cell<bool>,
    /// Somebody did not need a pass in this turn.
    others: Cell<bool>,
    others_until: Cell<Option<Instant>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            passes: Cell::new(PASSES_OF_A_TURN),
            free: Cell::new(PASSES_OF_A_TURN),
            line: RefCell::default(),
            is_turning: Cell::default(),
            others: Cell::default(),
            others_until: Cell::default(),
        }
    }
}

impl Lane {
    /// Waits for one pass.
    pub(crate) async fn pass(&self) {
        let place = Place::default();
        poll_fn(|cx| self.poll_pass(&place, cx)).await;
    }

    /// To be called for whoever is served without a pass.
    pub(crate) fn overtaken(&self) {
        self.0.others.set(true);
    }

    /// Ready when it is this place's turn, which the call uses up. Needs a local task set to run in.
    pub(crate) fn poll_pass(&self, place: &Place, cx: &Context<'_>) -> Poll<()> {
        let mut waits = place.0.borrow_mut();
        match &mut *waits {
            Waits::Granted => {
                *waits = Waits::No;
                return Poll::Ready(());
            }
            Waits::InLine(waker) => {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            Waits::No => {}
        }
        if !self.0.is_turning.replace(true) {
            tokio::task::spawn_local(turns(self.0.clone()));
        }
        if let Some(left) = self.0.free.get().checked_sub(1) {
            self.0.free.set(left);
            return Poll::Ready(());
        }
        *waits = Waits::InLine(cx.waker().clone());
        self.0.line.borrow_mut().push_back(Rc::downgrade(&place.0));
        Poll::Pending
    }
}

/// Turns until nobody has used a pass, or waits for one.
async fn turns(state: Rc<State>) {
    loop {
        let begun = Instant::now();
        // It comes back after the thread has looked at its sockets.
        tokio::task::yield_now().await;
        let now = Instant::now();
        if !state.turn(now, now - begun) {
            return;
        }
    }
}

/// How many may pass in a turn after one in which so many might, and that took so long. A short one in which fewer did
/// says nothing: the next ones, which may come all at once, would find too many.
fn passes_after(passes: usize, is_used_up: bool, took: Duration, turn: Duration) -> usize {
    let next = match took {
        _ if took > turn => passes / 2,
        _ if took < turn / 4 && is_used_up => passes * 2,
        _ => passes,
    };
    next.clamp(PASSES_OF_A_LONG_TURN, PASSES_OF_A_TURN)
}

impl State {
    /// Begins a turn, after one that took so long: those that wait longest get passes, what is left is for those that
    /// come. False where there is no use for one.
    fn turn(&self, now: Instant, took: Duration) -> bool {
        let was_unused = self.free.get() == self.passes.get();
        let (is_used_up, turn) = (self.free.get() == 0, self.time_of_turn(now));
        let passes = passes_after(self.passes.get(), is_used_up, took, turn);
        let mut free = passes;
        let mut line = self.line.borrow_mut();
        while free > 0
            && let Some(place) = line.pop_front()
        {
            free -= usize::from(place.upgrade().is_some_and(|waits| grant(&waits)));
        }
        self.passes.set(passes);
        self.free.set(free);
        let is_used = free < passes || !was_unused;
        self.is_turning.set(is_used);
        is_used
    }

    fn time_of_turn(&self, now: Instant) -> Duration {
        if self.others.take() {
            self.others_until.set(Some(now + OTHERS_TIME));
        }
        match self.others_until.get() {
            Some(until) if now < until => TURN,
            _ => TURN_ALONE,
        }
    }
}

/// Gives a place its pass; false where it does not wait for one.
fn grant(waits: &RefCell<Waits>) -> bool {
    match waits.replace(Waits::Granted) {
        Waits::InLine(waker) => {
            waker.wake();
            true
        }
        other => {
            waits.replace(other);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinSet, LocalSet, yield_now};

    use super::*;

    /// Lets so many places pass, and something new come meanwhile; returns how many had passed by then, and in all.
    async fn passed(count: usize) -> (usize, usize) {
        let (lane, passed) = (Lane::default(), Rc::new(Cell::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (lane, passed) = (lane.clone(), passed.clone());
            tasks.spawn_local(async move {
                lane.pass().await;
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

    /// Places of which as many as a turn has passed, and the others wait.
    fn places(lane: &Lane, count: usize) -> Vec<Place> {
        let cx = Context::from_waker(Waker::noop());
        let places: Vec<Place> = std::iter::repeat_with(Place::default).take(count).collect();
        for place in &places {
            let _ = lane.poll_pass(place, &cx);
        }
        places
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
    fn long_turns_have_fewer_passes_until_they_are_short() {
        assert_eq!(passes_after(8, true, TURN / 2, TURN), 8);
        assert_eq!(passes_after(8, true, 2 * TURN, TURN), 4);
        assert_eq!(passes_after(8, false, 2 * TURN, TURN), 4);
        assert_eq!(passes_after(1, true, 9 * TURN, TURN), 1);
        assert_eq!(passes_after(2, true, TURN / 8, TURN), 4);
        assert_eq!(
            passes_after(PASSES_OF_A_TURN, true, Duration::ZERO, TURN),
            PASSES_OF_A_TURN
        );
    }

    #[test]
    fn a_turn_in_which_few_came_says_nothing_of_more() {
        assert_eq!(passes_after(2, false, Duration::ZERO, TURN), 2);
    }

    #[test]
    fn turns_are_short_while_others_are_served() {
        let (lane, now) = (Lane::default(), Instant::now());
        assert_eq!(lane.0.time_of_turn(now), TURN_ALONE);
        lane.overtaken();
        assert_eq!(lane.0.time_of_turn(now), TURN);
        assert_eq!(lane.0.time_of_turn(now + OTHERS_TIME / 2), TURN);
        assert_eq!(lane.0.time_of_turn(now + OTHERS_TIME), TURN_ALONE);
    }

    #[test]
    fn who_waited_is_before_who_comes() {
        run(async {
            let lane = Lane::default();
            let places = places(&lane, 2 * PASSES_OF_A_TURN);
            lane.0.turn(Instant::now(), TURN / 2);
            let cx = Context::from_waker(Waker::noop());
            assert!(lane.poll_pass(&Place::default(), &cx).is_pending());
            for place in &places[PASSES_OF_A_TURN..] {
                assert!(lane.poll_pass(place, &cx).is_ready());
            }
        });
    }

    #[test]
    fn who_asks_often_waits_once() {
        run(async {
            let lane = Lane::default();
            let places = places(&lane, 2 * PASSES_OF_A_TURN);
            let (cx, often) = (
                Context::from_waker(Waker::noop()),
                &places[PASSES_OF_A_TURN],
            );
            for _ in 0..100 {
                assert!(lane.poll_pass(often, &cx).is_pending());
            }
            lane.0.turn(Instant::now(), TURN / 2);
            for place in &places[PASSES_OF_A_TURN..] {
                assert!(lane.poll_pass(place, &cx).is_ready());
            }
        });
    }

    #[test]
    fn nobody_waits_for_a_place_that_is_gone() {
        run(async {
            let lane = Lane::default();
            drop(places(&lane, 3 * PASSES_OF_A_TURN));
            let cx = Context::from_waker(Waker::noop());
            let late = Place::default();
            assert!(lane.poll_pass(&late, &cx).is_pending());
            lane.0.turn(Instant::now(), TURN / 2);
            assert!(lane.poll_pass(&late, &cx).is_ready());
        });
    }
}
