//! The same question, answered by trying every order: slow, and short enough to be seen to be right.

use std::collections::HashSet;

use super::super::{Action, Answer, Call, Value};

/// Whether some order explains every answer of a short history.
pub(super) fn is_linearizable(history: &[Call], registers: usize) -> bool {
    let first = (0_u64, vec![None; registers]);
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some((done, registers)) = open.pop() {
        let has = |at: &usize| done >> at & 1 == 1;
        let left: Vec<_> = (0..history.len()).filter(|at| !has(at)).collect();
        let horizon = left.iter().map(|at| history[*at].end).min();
        let Some(horizon) = horizon.filter(|horizon| *horizon != u64::MAX) else {
            return true;
        };
        for at in left {
            let call = &history[at];
            if call.start > horizon {
                continue;
            }
            if let Some(registers) = after(&registers, call) {
                let next = (done | 1 << at, registers);
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    false
}

/// The registers after a call; `None` where its answer is another one.
fn after(registers: &[Value], call: &Call) -> Option<Vec<Value>> {
    let mut next = registers.to_vec();
    let fits = match (&call.action, &call.answer) {
        (Action::Put { register, value }, Answer::Stored | Answer::Nothing) => {
            next[*register] = Some(*value);
            true
        }
        (Action::CompareAndSet { register, from, to }, answer) => {
            let holds = registers[*register] == *from;
            if holds && *answer != Answer::Refused {
                next[*register] = Some(*to);
            }
            match answer {
                Answer::Stored => holds,
                Answer::Refused => !holds,
                _ => true,
            }
        }
        (Action::Get { register }, Answer::Found(value)) => registers[*register] == *value,
        (Action::List, Answer::Listed(values)) => registers == values,
        (Action::Get { .. } | Action::List, Answer::Nothing) => true,
        _ => false,
    };
    fits.then_some(next)
}
