//! Whether a rollout stays, goes on or goes back. Pure.

use tidegate_proto::snapshots::v1::Worker;
use tidegate_store::{Gates, Rollout};

use super::cohort;
use super::tally::{REQUESTS_MIN, Tally};
use crate::progress::standing;

/// What becomes of a rollout now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Too few workers of the step serve it.
    Wait,
    /// They do, but not for long enough, or it is paused.
    Bake,
    /// They have done so long enough.
    Next,
    /// They refuse it or answer worse with it, and why.
    Abort(String),
}

/// Judges a rollout by its workers and what they have answered; `since_unix_ms` is since when enough of the step's serve it.
pub(super) fn verdict(
    rollout: &Rollout,
    connected: &[Worker],
    tally: &Tally,
    (since_unix_ms, now_unix_ms): (Option<i64>, i64),
) -> Verdict {
    let chosen = cohort::of(rollout, connected);
    let gates = rollout.present().gates;
    let refusals = chosen.iter();
    let refusals = refusals.filter_map(|worker| standing::refusal(worker, rollout.id));
    let refusals: Vec<String> = refusals.collect();
    if refusals.len() > gates.max_nacks as usize {
        return Verdict::Abort(refusals.into_iter().next().unwrap_or_default());
    }
    if let Some(why) = worse(&gates, tally) {
        return Verdict::Abort(why);
    }
    let serves = |worker: &&&Worker| standing::serves(worker) >= rollout.id;
    let serving = chosen.iter().filter(serves).count();
    let needed = (chosen.len() * gates.min_ready_percent as usize).div_ceil(100);
    if serving == 0 || serving < needed {
        return Verdict::Wait;
    }
    let baked = now_unix_ms.saturating_sub(since_unix_ms.unwrap_or(now_unix_ms));
    let is_baked = u64::try_from(baked).is_ok_and(|baked| baked >= rollout.present().bake_ms);
    if is_baked && !rollout.paused {
        Verdict::Next
    } else {
        Verdict::Bake
    }
}

/// Why the workers of a step are too much worse than the others, if they are.
fn worse(gates: &Gates, tally: &Tally) -> Option<String> {
    let most = u64::from(gates.max_5xx_delta_permille?);
    let (step, others) = (tally.step(), tally.others());
    // Not a difference of rounded shares: with 0 for a bound, one error more in a million is one.
    let allowed = (others.permille() + most).saturating_mul(step.requests);
    if step.requests < REQUESTS_MIN || step.errors.saturating_mul(1_000) <= allowed {
        return None;
    }
    Some(format!(
        "{} of {} requests were answered with 5xx at the workers of the step, and {} of {} at the others; \
         {most} of 1,000 more are allowed",
        step.errors, step.requests, others.errors, others.requests,
    ))
}

#[cfg(test)]
mod tests {
    use tidegate_proto::snapshots::v1::{Nack, SnapshotId, Traffic};
    use tidegate_store::{Note, Step, Steps};

    use super::*;

    fn rollout() -> Rollout {
        let step = |percent| Step {
            percent,
            workers: 0,
            bake_ms: 1_000,
            gates: Gates::default(),
        };
        Rollout {
            id: 8,
            stable: 7,
            canary: 8,
            steps: Steps {
                steps: vec![step(100)],
                note: Note::default(),
            },
            step: 0,
            since_unix_ms: 0,
            paused: false,
        }
    }

    fn id(version: u64) -> Option<SnapshotId> {
        Some(SnapshotId {
            version,
            ..SnapshotId::default()
        })
    }

    fn worker(serving: u64, refused: u64) -> Worker {
        let nack = Nack {
            id: id(refused),
            problems: vec![],
        };
        Worker {
            pool: "p".into(),
            name: "one".into(),
            serving: id(serving),
            last_nack: (refused > 0).then_some(nack),
            ..Worker::default()
        }
    }

    /// Without traffic.
    fn judge(rollout: &Rollout, workers: &[Worker], since: Option<i64>, now: i64) -> Verdict {
        verdict(rollout, workers, &Tally::default(), (since, now))
    }

    fn gated(gates: Gates) -> Rollout {
        let mut rollout = rollout();
        rollout.steps.steps[0].gates = gates;
        rollout
    }

    /// Two workers, one of them in the step, with so many errors among 1,000 requests since the rollout began.
    fn answered(rollout: &Rollout, step: u64, others: u64) -> Verdict {
        let with = |name: &str, version, errors| Worker {
            name: name.to_owned(),
            traffic: Some(Traffic {
                version,
                requests: if errors == 0 { 0 } else { 1_000 },
                errors,
            }),
            ..worker(version, 0)
        };
        let mut tally = Tally::default();
        for workers in [
            [with("one", 8, 0), with("two", 7, 0)],
            [with("one", 8, step), with("two", 7, others)],
        ] {
            tally.take(rollout, &workers, |worker| worker.name == "one");
        }
        verdict(rollout, &[worker(8, 0)], &tally, (Some(0), 5_000))
    }

    #[test]
    fn more_errors_than_the_others_have_abort_from_the_gate_on() {
        let gates = |permille| Gates {
            max_5xx_delta_permille: permille,
            ..Gates::default()
        };
        let ten = gated(gates(Some(10)));
        assert_eq!(answered(&ten, 30, 20), Verdict::Next);
        let Verdict::Abort(why) = answered(&ten, 31, 20) else {
            panic!("it is more than allowed");
        };
        assert!(why.starts_with("31 of 1000 requests"), "{why}");
        assert_eq!(answered(&gated(gates(None)), 900, 0), Verdict::Next);
    }

    #[test]
    fn as_many_may_refuse_or_be_late_as_the_gates_say() {
        let gates = Gates {
            max_nacks: 1,
            min_ready_percent: 50,
            ..Gates::default()
        };
        let rollout = gated(gates);
        let named = |name: &str, serving, refused| Worker {
            name: name.to_owned(),
            ..worker(serving, refused)
        };
        let one = [named("one", 8, 0), named("two", 7, 8)];
        assert_eq!(judge(&rollout, &one, Some(0), 5_000), Verdict::Next);
        let two = [named("one", 7, 8), named("two", 7, 8), named("three", 8, 0)];
        let verdict = judge(&rollout, &two, Some(0), 5_000);
        assert!(matches!(verdict, Verdict::Abort(_)), "{verdict:?}");
        let late = [named("one", 8, 0), named("two", 7, 0), named("three", 7, 0)];
        assert_eq!(judge(&rollout, &late, Some(0), 5_000), Verdict::Wait);
    }

    #[test]
    fn a_step_lasts_until_its_workers_have_served_it_long_enough() {
        let rollout = rollout();
        assert_eq!(judge(&rollout, &[], None, 5_000), Verdict::Wait);
        let late = [worker(7, 0)];
        assert_eq!(judge(&rollout, &late, None, 5_000), Verdict::Wait);
        let ready = [worker(8, 0)];
        assert_eq!(judge(&rollout, &ready, None, 5_000), Verdict::Bake);
        assert_eq!(judge(&rollout, &ready, Some(4_001), 5_000), Verdict::Bake);
        assert_eq!(judge(&rollout, &ready, Some(4_000), 5_000), Verdict::Next);
        let paused = Rollout {
            paused: true,
            ..rollout
        };
        assert_eq!(judge(&paused, &ready, Some(0), 5_000), Verdict::Bake);
    }

    #[test]
    fn a_refusal_aborts_even_while_it_is_paused() {
        let paused = Rollout {
            paused: true,
            ..rollout()
        };
        let refusing = [worker(7, 8)];
        let verdict = judge(&paused, &refusing, None, 0);
        assert!(matches!(verdict, Verdict::Abort(_)), "{verdict:?}");
    }
}
