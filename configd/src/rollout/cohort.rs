//! Which workers belong to a step: a stable choice by their names. Pure.

use tidegate_ir::Digest;
use tidegate_proto::snapshots::v1::Worker;
use tidegate_store::{Marks, Rollout};

/// Whether a worker belongs to the first `percent` of its pool, or is the very first of those that are connected.
pub(crate) fn has(percent: u32, pool: &str, worker: &str, connected: &[Worker]) -> bool {
    let own = place(pool, worker);
    if own < percent.saturating_mul(100) {
        return true;
    }
    // A step of few workers in a small pool would be empty; then nobody would try the version first.
    let first = connected
        .iter()
        .map(|other| (place(pool, &other.name), &*other.name));
    first
        .min()
        .is_none_or(|(first, name)| (own, worker) <= (first, name))
}

/// The version that a worker is to serve, where a rollout is under way.
pub(crate) fn version_for(
    marks: &Marks,
    pool: &str,
    worker: &str,
    connected: &[Worker],
) -> Option<u64> {
    let rollout = marks.rollout.as_ref()?;
    Some(
        match has(rollout.present().percent, pool, worker, connected) {
            true => rollout.canary,
            false => rollout.stable,
        },
    )
}

/// The connected workers of the present step.
pub(crate) fn of<'w>(rollout: &Rollout, connected: &'w [Worker]) -> Vec<&'w Worker> {
    let percent = rollout.present().percent;
    let chosen = |worker: &&Worker| has(percent, &worker.pool, &worker.name, connected);
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
        let chosen = |worker: &&Worker| has(percent, "p", &worker.name, workers);
        let chosen = workers.iter().filter(chosen);
        chosen.map(|worker| &*worker.name).collect()
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
