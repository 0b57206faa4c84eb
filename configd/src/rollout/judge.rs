//! Whether a rollout stays, goes on or goes back. Pure.

use tidegate_proto::snapshots::v1::Worker;
use tidegate_store::Rollout;

use super::cohort;
use crate::progress::standing;

/// What becomes of a rollout now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not all workers of the step serve it.
    Wait,
    /// They do, but not for long enough, or it is paused.
    Bake,
    /// They have done so long enough.
    Next,
    /// One of them refuses it, and why.
    Abort(String),
}

/// Judges a rollout by its workers; `since_unix_ms` is since when all of the step's serve it.
pub(super) fn verdict(
    rollout: &Rollout,
    connected: &[Worker],
    since_unix_ms: Option<i64>,
    now_unix_ms: i64,
) -> Verdict {
    let chosen = cohort::of(rollout, connected);
    let refusal = chosen
        .iter()
        .find_map(|worker| standing::refusal(worker, rollout.id));
    if let Some(why) = refusal {
        return Verdict::Abort(why);
    }
    let serves = |worker: &&&Worker| standing::serves(worker) >= rollout.id;
    if chosen.is_empty() || chosen.iter().filter(serves).count() < chosen.len() {
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

#[cfg(test)]
mod tests {
    use tidegate_proto::snapshots::v1::{Nack, SnapshotId};
    use tidegate_store::{Note, Step, Steps};

    use super::*;

    fn rollout() -> Rollout {
        let step = |percent| Step {
            percent,
            bake_ms: 1_000,
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

    #[test]
    fn a_step_lasts_until_its_workers_have_served_it_long_enough() {
        let rollout = rollout();
        assert_eq!(verdict(&rollout, &[], None, 5_000), Verdict::Wait);
        let late = [worker(7, 0)];
        assert_eq!(verdict(&rollout, &late, None, 5_000), Verdict::Wait);
        let ready = [worker(8, 0)];
        assert_eq!(verdict(&rollout, &ready, None, 5_000), Verdict::Bake);
        assert_eq!(verdict(&rollout, &ready, Some(4_001), 5_000), Verdict::Bake);
        assert_eq!(verdict(&rollout, &ready, Some(4_000), 5_000), Verdict::Next);
        let paused = Rollout {
            paused: true,
            ..rollout
        };
        assert_eq!(verdict(&paused, &ready, Some(0), 5_000), Verdict::Bake);
    }

    #[test]
    fn a_refusal_aborts_even_while_it_is_paused() {
        let paused = Rollout {
            paused: true,
            ..rollout()
        };
        let refusing = [worker(7, 8)];
        let verdict = verdict(&paused, &refusing, None, 0);
        assert!(matches!(verdict, Verdict::Abort(_)), "{verdict:?}");
    }
}
