//! The search for an order.
//!
//! Calls with an answer are tried one after the other. A write without an answer is put in only where a call needs it, just
//! before that call: whatever an order with it anywhere else explains, one of these explains too. So what nobody answered,
//! which has no end and could happen anywhere, costs nothing, and a history with the calls of four clients is decided in a
//! few states for each call.

use std::collections::{HashMap, HashSet};

use super::{Action, Answer, Call, Value, Verdict};

/// States that are looked at, at most.
const STATES_MAX: usize = 2_000_000;

/// A history as it is searched.
pub(super) struct Search<'h> {
    registers: usize,
    /// The calls with an answer; those that ended first are last, so that they are tried first.
    answered: Vec<&'h Call>,
    /// The writes without one.
    pending: Vec<Pending>,
    /// Place in `pending` of the write of a value.
    writers: HashMap<(usize, u64), usize>,
}

/// A write without an answer.
struct Pending {
    start: u64,
    register: usize,
    /// What the register must hold, where the write has a condition.
    from: Option<Value>,
    to: u64,
}

/// Which calls have happened, and what the registers hold then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    done: Vec<u64>,
    used: Vec<u64>,
    registers: Vec<Value>,
}

impl<'h> Search<'h> {
    pub(super) fn new(history: &'h [Call], registers: usize) -> Self {
        let answered = history.iter().filter(|call| call.answer != Answer::Nothing);
        let mut answered: Vec<_> = answered.collect();
        answered.sort_by_key(|call| std::cmp::Reverse(call.end));
        let pending: Vec<_> = history.iter().filter_map(Pending::of).collect();
        let places = pending.iter().enumerate();
        let writers = places.map(|(at, write)| ((write.register, write.to), at));
        Self {
            registers,
            answered,
            writers: writers.collect(),
            pending,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let first = State {
            done: vec![0; self.answered.len().div_ceil(64)],
            used: vec![0; self.pending.len().div_ceil(64)],
            registers: vec![None; self.registers],
        };
        let mut seen = HashSet::from([first.clone()]);
        let mut open = vec![first];
        while let Some(state) = open.pop() {
            let Some(horizon) = self.horizon(&state) else {
                return Verdict::Linearizable;
            };
            for next in self.after(&state, horizon) {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
            if seen.len() > STATES_MAX {
                return Verdict::Undecided;
            }
        }
        Verdict::Violated
    }

    /// The first end of a call that has not happened yet: what began later cannot be next. `None` where all have happened.
    fn horizon(&self, state: &State) -> Option<u64> {
        let calls = self.answered.iter().enumerate();
        let left = calls.filter(|(at, _)| !has(&state.done, *at));
        left.map(|(_, call)| call.end).min()
    }

    /// The states after one more call with an answer.
    fn after(&self, state: &State, horizon: u64) -> Vec<State> {
        let calls = self.answered.iter().enumerate();
        let next = calls.filter(|(at, call)| !has(&state.done, *at) && call.start <= horizon);
        let states = next.flat_map(|(at, call)| {
            let ways = self.ways(state, call, horizon).into_iter();
            ways.map(move |writes| self.step(state, &writes, at, call))
        });
        states.collect()
    }

    /// What has to be written before a call so that its answer is right: none, one or several ways.
    fn ways(&self, state: &State, call: &Call, horizon: u64) -> Vec<Vec<usize>> {
        let writes = |register, value| self.writes_to(state, register, value, horizon);
        match (&call.action, &call.answer) {
            (Action::Put { .. }, Answer::Stored) => vec![Vec::new()],
            (Action::CompareAndSet { register, from, .. }, Answer::Stored) => {
                writes(*register, *from).into_iter().collect()
            }
            (Action::CompareAndSet { register, from, .. }, Answer::Refused) => {
                if state.registers[*register] == *from {
                    self.changes(state, *register, horizon)
                } else {
                    vec![Vec::new()]
                }
            }
            (Action::Get { register }, Answer::Found(value)) => {
                writes(*register, *value).into_iter().collect()
            }
            (Action::List, Answer::Listed(values)) => {
                let each = values.iter().enumerate();
                let each: Option<Vec<_>> = each.map(|(at, value)| writes(at, *value)).collect();
                each.map(|each| each.concat()).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The writes without an answer after which a register holds a value, as few as can be. As a value has one writer, there
    /// is one way at most.
    fn writes_to(
        &self,
        state: &State,
        register: usize,
        wanted: Value,
        horizon: u64,
    ) -> Option<Vec<usize>> {
        let mut writes = Vec::new();
        let mut wanted = wanted;
        while wanted != state.registers[register] && writes.len() < self.pending.len() {
            let at = *self.writers.get(&(register, wanted?))?;
            if !self.may_happen(state, at, horizon) {
                return None;
            }
            writes.push(at);
            match self.pending[at].from {
                Some(from) => wanted = from,
                None => return Some(reversed(writes)),
            }
        }
        (wanted == state.registers[register]).then(|| reversed(writes))
    }

    /// Every write without an answer that changes what a register holds now.
    fn changes(&self, state: &State, register: usize, horizon: u64) -> Vec<Vec<usize>> {
        let places = 0..self.pending.len();
        let changing = places.filter(|at| {
            let write = &self.pending[*at];
            let fits = write
                .from
                .is_none_or(|from| from == state.registers[register]);
            write.register == register && fits && self.may_happen(state, *at, horizon)
        });
        changing.map(|at| vec![at]).collect()
    }

    fn may_happen(&self, state: &State, at: usize, horizon: u64) -> bool {
        !has(&state.used, at) && self.pending[at].start <= horizon
    }

    fn step(&self, state: &State, writes: &[usize], at: usize, call: &Call) -> State {
        let mut next = state.clone();
        for write in writes {
            add(&mut next.used, *write);
            let write = &self.pending[*write];
            next.registers[write.register] = Some(write.to);
        }
        add(&mut next.done, at);
        if call.answer == Answer::Stored
            && let Some((register, value)) = call.action.writes()
        {
            next.registers[register] = Some(value);
        }
        next
    }
}

impl Pending {
    fn of(call: &Call) -> Option<Self> {
        let (register, to) = call.action.writes()?;
        let from = match call.action {
            Action::CompareAndSet { from, .. } => Some(from),
            _ => None,
        };
        (call.answer == Answer::Nothing).then_some(Self {
            start: call.start,
            register,
            from,
            to,
        })
    }
}

fn reversed(mut writes: Vec<usize>) -> Vec<usize> {
    writes.reverse();
    writes
}

fn has(set: &[u64], at: usize) -> bool {
    set[at / 64] >> (at % 64) & 1 == 1
}

fn add(set: &mut [u64], at: usize) {
    set[at / 64] |= 1 << (at % 64);
}
