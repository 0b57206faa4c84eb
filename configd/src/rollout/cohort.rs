//! Which workers belong to a step: a stable choice by their names. Pure.

use tidegate_ir::Digest;
use tidegate_proto::snapshots::v1::Worker;
use tidegate_store::{Marks, Rollout, Step};

/// Whether a worker belongs to the share of its pool that a step wants, or to the first of those that are connected, as many
/// as it wants.
pub(crate) fn has(step: &Step, pool: &str, worker: &str, connected: &[Worker]) -> bool {
    let own = place(pool, worker);
    if own < step.percent.saturating_mul(100) {
        return true;
    }
    let before = connected.iter().filter(|other| {
        let other = (place(pool, &other.name), &*other.name);
        other < (own, worker)
    });
    // A step of few workers in a small pool would be empty; then nobody would try the version first.
    before.count() < step.workers.max(1) as usize
}

/// The version that a worker is to serve, where a rollout is under way.
pub(crate) fn version_for(
    marks: &Marks,
    pool: &str,
    worker: &str,
    connected: &[Worker],
) -> Option<u64> {
    let rollout = marks.rollout.as_ref()?;
    Some(match has(&rollout.present(), pool, worker, connected) {
        true => rollout.canary,
        false => rollout.stable,
    })
}

/// The connected workers of the present step.
pub(crate) fn of<'w>(rollout: &Rollout, connected: &'w [Worker]) -> Vec<&'w Worker> {
    let step = rollout.present();
    let chosen = |worker: &&Worker| has(&step, &worker.pool, &worker.name, connected);
    connected.iter().filter(chosen).collect()
}

/// 0 to 9,999; the same for a name as long as it is in the pool.
fn place(pool: &str, worker: &str) -> u32 {
    let digest = Digest::of(format!("{pool}\0{worker}").as_bytes());
    let bytes = digest.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize) -> Vec<Worker> {
        let worker = |index| Worker {
            pool: "p".into(),
            name: format!("worker-{index}"),
            ..Worker::default()
        };
        (0..count).map(worker).collect()
    }

    fn chosen(percent: u32, workers: &[Worker]) -> Vec<&str> {
        chosen_by((percent, 0), workers)
    }

    fn chosen_by((percent, count): (u32, u32), workers: &[Worker]) -> Vec<&str> {
        let step = Step {
            percent,
            workers: count,
            bake_ms: 0,
            gates: tidegate_store::Gates::default(),
        };
        let chosen = |worker: &&Worker| has(&step, "p", &worker.name, workers);
        let chosen = workers.iter().filter(chosen);
        chosen.map(|worker| &*worker.name).collect()
    }

    #[test]
    fn a_step_of_workers_has_as_many_of_those_that_are_connected() {
        let all = workers(1_000);
        let (two, five) = (chosen_by((0, 2), &all), chosen_by((0, 5), &all));
        assert_eq!((two.len(), five.len()), (2, 5));
        assert!(two.iter().all(|name| five.contains(name)));
        // Whoever is in the share counts among them.
        assert_eq!(chosen_by((10, 5), &all), chosen(10, &all));
        assert_eq!(chosen_by((0, 5), &all[..3]).len(), 3);
    }

    #[test]
    fn a_later_step_has_the_workers_of_the_earlier_ones() {
        let all = workers(1_000);
        let (few, more) = (chosen(10, &all), chosen(50, &all));
        assert!((50..200).contains(&few.len()), "{}", few.len());
        assert!((400..600).contains(&more.len()), "{}", more.len());
        assert!(few.iter().all(|name| more.contains(name)));
        assert_eq!(chosen(100, &all).len(), 1_000);
    }

    #[test]
    fn the_smallest_step_of_the_smallest_pool_has_one_worker() {
        for count in 1..5 {
            let all = workers(count);
            assert!(!chosen(1, &all).is_empty(), "of {count}");
        }
        assert!(chosen(1, &workers(3)).len() < 3);
    }
}
