//! Planted violations are found, and what only looks like one is not.

mod plain;

use super::*;
use crate::chance::Chance;

fn call(start: u64, end: u64, action: Action, answer: Answer) -> Call {
    Call {
        start,
        end,
        action,
        answer,
    }
}

fn put(start: u64, end: u64, value: u64) -> Call {
    call(
        start,
        end,
        Action::Put { register: 0, value },
        Answer::Stored,
    )
}

fn get(start: u64, end: u64, value: Value) -> Call {
    call(
        start,
        end,
        Action::Get { register: 0 },
        Answer::Found(value),
    )
}

fn swap(start: u64, end: u64, from: Value, to: u64, answer: Answer) -> Call {
    let action = Action::CompareAndSet {
        register: 0,
        from,
        to,
    };
    call(start, end, action, answer)
}

#[test]
fn a_stale_read_is_found() {
    let history = [put(0, 1, 1), put(2, 3, 2), get(4, 5, Some(1))];
    assert_eq!(check(&history, 1), Verdict::Violated);
    let overlapping = [put(0, 1, 1), put(2, 5, 2), get(3, 4, Some(1))];
    assert_eq!(check(&overlapping, 1), Verdict::Linearizable);
}

#[test]
fn a_lost_write_is_found() {
    let history = [put(0, 1, 1), get(2, 3, None)];
    assert_eq!(check(&history, 1), Verdict::Violated);
}

#[test]
fn reads_that_go_back_are_found() {
    let mut history = vec![
        put(0, 1, 1),
        put(2, 9, 2),
        get(3, 4, Some(2)),
        get(5, 6, Some(1)),
    ];
    assert_eq!(check(&history, 1), Verdict::Violated);
    history.pop();
    assert_eq!(check(&history, 1), Verdict::Linearizable);
}

#[test]
fn two_that_swap_the_same_value_are_found() {
    let history = [
        put(0, 1, 1),
        swap(2, 5, Some(1), 2, Answer::Stored),
        swap(3, 6, Some(1), 3, Answer::Stored),
    ];
    assert_eq!(check(&history, 1), Verdict::Violated);
}

#[test]
fn a_swap_that_is_refused_without_a_reason_is_found() {
    let history = [put(0, 1, 1), swap(2, 3, Some(1), 2, Answer::Refused)];
    assert_eq!(check(&history, 1), Verdict::Violated);
}

#[test]
fn a_write_without_an_answer_may_come_late_or_never_but_not_twice() {
    let lost = call(
        0,
        u64::MAX,
        Action::Put {
            register: 0,
            value: 9,
        },
        Answer::Nothing,
    );
    let late = [lost.clone(), get(5, 6, None), get(7, 8, Some(9))];
    assert_eq!(check(&late, 1), Verdict::Linearizable);
    let never = [lost.clone(), get(5, 6, None)];
    assert_eq!(check(&never, 1), Verdict::Linearizable);
    let twice = [lost, get(5, 6, Some(9)), put(7, 8, 1), get(9, 10, Some(9))];
    assert_eq!(check(&twice, 1), Verdict::Violated);
}

#[test]
fn a_write_that_nobody_saw_explains_a_refusal() {
    let lost = call(
        2,
        u64::MAX,
        Action::Put {
            register: 0,
            value: 9,
        },
        Answer::Nothing,
    );
    let history = [put(0, 1, 1), lost, swap(3, 4, Some(1), 2, Answer::Refused)];
    assert_eq!(check(&history, 1), Verdict::Linearizable);
}

#[test]
fn a_list_that_mixes_two_moments_is_found() {
    let both = |start, end, values: [Value; 2]| {
        call(start, end, Action::List, Answer::Listed(values.to_vec()))
    };
    let second = call(
        2,
        3,
        Action::Put {
            register: 1,
            value: 2,
        },
        Answer::Stored,
    );
    let mixed = [put(0, 1, 1), second.clone(), both(4, 5, [None, Some(2)])];
    assert_eq!(check(&mixed, 2), Verdict::Violated);
    let whole = [put(0, 1, 1), second, both(4, 5, [Some(1), Some(2)])];
    assert_eq!(check(&whole, 2), Verdict::Linearizable);
}

/// A history of a register that is one: every call happens at once, at a moment within it.
fn true_history(chance: &mut Chance) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut held = None;
    for moment in (0..80_u64).map(|number| number * 100) {
        let (start, end) = (
            moment.saturating_sub(chance.below(350)),
            moment + chance.below(350),
        );
        calls.push(match chance.below(3) {
            0 => get(start, end, held),
            1 => {
                held = Some(moment + 1);
                put(start, end, moment + 1)
            }
            _ => {
                let (from, to) = (held, moment + 2);
                held = Some(to);
                swap(start, end, from, to, Answer::Stored)
            }
        });
    }
    calls
}

#[test]
fn what_a_true_register_did_passes_and_with_one_changed_answer_does_not() {
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let mut history = true_history(&mut chance);
        assert_eq!(check(&history, 1), Verdict::Linearizable, "seed {seed}");
        // A read that ends before anything else began finds what is written last.
        history.push(get(0, 0, Some(history.len() as u64 * 100_000)));
        assert_eq!(check(&history, 1), Verdict::Violated, "seed {seed}");
    }
}

/// A short history of two registers that are what they should be, with calls at the same time and writes without an answer
/// that happen late or never.
fn short_history(chance: &mut Chance) -> Vec<Call> {
    let mut held = vec![None; 2];
    let mut calls = Vec::new();
    let mut late: Vec<(usize, u64)> = Vec::new();
    for moment in (1..=14_u64).map(|number| number * 100) {
        if chance.once_in(3)
            && let Some((register, value)) = late.pop()
        {
            held[register] = Some(value);
        }
        let register = usize::from(chance.once_in(2));
        let start = moment.saturating_sub(chance.below(250));
        let end = moment + chance.below(250);
        let from = if chance.once_in(2) {
            held[register]
        } else {
            Some(moment / 200 * 100)
        };
        let swap = Action::CompareAndSet {
            register,
            from,
            to: moment,
        };
        let put = Action::Put {
            register,
            value: moment,
        };
        calls.push(match chance.below(6) {
            0 => call(
                start,
                end,
                Action::Get { register },
                Answer::Found(held[register]),
            ),
            1 => call(start, end, Action::List, Answer::Listed(held.clone())),
            2 => {
                late.push((register, moment));
                call(start, u64::MAX, put, Answer::Nothing)
            }
            3 => call(start, u64::MAX, swap, Answer::Nothing),
            4 => {
                held[register] = Some(moment);
                call(start, end, put, Answer::Stored)
            }
            _ if held[register] == from => {
                held[register] = Some(moment);
                call(start, end, swap, Answer::Stored)
            }
            _ => call(start, end, swap, Answer::Refused),
        });
    }
    calls
}

/// Changes one answer to another that could have been given.
fn spoil(history: &mut [Call], chance: &mut Chance) {
    let at = usize::try_from(chance.below(history.len() as u64)).unwrap();
    let value = Some(chance.below(14) * 100 + 100);
    history[at].answer = match &history[at].answer {
        Answer::Stored if matches!(history[at].action, Action::CompareAndSet { .. }) => {
            Answer::Refused
        }
        Answer::Refused => Answer::Stored,
        Answer::Found(_) => Answer::Found(value),
        Answer::Listed(values) => Answer::Listed(vec![value, values[1]]),
        other => other.clone(),
    };
}

#[test]
fn it_says_what_trying_every_order_says() {
    let (mut passed, mut failed) = (0, 0);
    for seed in 0..4_000 {
        let mut chance = Chance::new(seed);
        let mut history = short_history(&mut chance);
        for _ in 0..chance.below(3) {
            spoil(&mut history, &mut chance);
        }
        let expected = plain::is_linearizable(&history, 2);
        let verdict = check(&history, 2);
        assert_eq!(
            verdict == Verdict::Linearizable,
            expected,
            "seed {seed}: {history:#?}"
        );
        assert_ne!(verdict, Verdict::Undecided);
        *(if expected { &mut passed } else { &mut failed }) += 1;
    }
    assert!(
        passed > 500 && failed > 500,
        "{passed} passed, {failed} failed"
    );
}
