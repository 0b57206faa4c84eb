//! What the workers have answered while a rollout is under way: those of the step, and the others. Pure.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_proto::snapshots::v1::{Traffic, Worker};
use tidegate_store::Rollout;

/// Requests from which on a share of errors says something.
pub(super) const REQUESTS_MIN: u64 = 100;

/// Requests and those of them that were answered with 5xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answers {
    pub(super) requests: u64,
    pub(super) errors: u64,
}

/// What is known of one rollout.
#[derive(Debug, Default)]
pub(super) struct Tally {
    id: u64,
    /// Of the connected workers, by their names.
    workers: BTreeMap<String, Count>,
    /// What the others had answered when they last were enough to compare with; by and by all are in the step.
    others_before: Answers,
}

/// What one worker has answered since the rollout began, or since it serves its version.
#[derive(Debug, Default)]
struct Count {
    is_new: bool,
    last: Traffic,
    sum: Answers,
}

impl Answers {
    /// Errors among a thousand requests; 0 where they are too few to say.
    pub(super) fn permille(self) -> u64 {
        if self.requests < REQUESTS_MIN {
            return 0;
        }
        self.errors.saturating_mul(1_000) / self.requests
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            errors: self.errors.saturating_add(other.errors),
        }
    }
}

impl Tally {
    /// Takes in what the workers say now.
    pub(super) fn take(
        &mut self,
        rollout: &Rollout,
        connected: &[Worker],
        is_chosen: impl Fn(&Worker) -> bool,
    ) {
        if self.id != rollout.id {
            *self = Self {
                id: rollout.id,
                ..Self::default()
            };
        }
        let names: BTreeSet<&str> = connected.iter().map(|worker| &*worker.name).collect();
        self.workers.retain(|name, _| names.contains(&**name));
        for worker in connected {
            let Some(traffic) = &worker.traffic else {
                continue;
            };
            // By what it reports and not by what it serves: the report may be from before.
            let is_newer = traffic.version >= rollout.id && traffic.version != rollout.stable;
            let is_new = is_newer && is_chosen(worker);
            let count = self.workers.get_mut(&worker.name);
            match count.filter(|count| count.is_new == is_new) {
                Some(count) => count.take(traffic),
                None => {
                    let count = Count::begin(is_new, traffic);
                    self.workers.insert(worker.name.clone(), count);
                }
            }
        }
        let others = self.sum(false);
        if others.requests >= REQUESTS_MIN {
            self.others_before = others;
        }
    }

    /// Of the workers that serve the new version.
    pub(super) fn step(&self) -> Answers {
        self.sum(true)
    }

    /// Of the others.
    pub(super) fn others(&self) -> Answers {
        self.others_before
    }

    fn sum(&self, is_new: bool) -> Answers {
        let counts = self.workers.values().filter(|count| count.is_new == is_new);
        counts.fold(Answers::default(), |sum, count| sum.plus(count.sum))
    }
}

impl Count {
    /// A worker that serves the new version counts from that on, another one from now on.
    fn begin(is_new: bool, traffic: &Traffic) -> Self {
        let mut count = Self {
            is_new,
            ..Self::default()
        };
        match is_new {
            true => count.take(traffic),
            false => count.last = *traffic,
        }
        count
    }

    fn take(&mut self, traffic: &Traffic) {
        // A worker counts from 0 with each version, and one that begins anew does, too.
        let is_same =
            traffic.version == self.last.version && traffic.requests >= self.last.requests;
        let before = if is_same {
            self.last
        } else {
            Traffic::default()
        };
        let more = Answers {
            requests: traffic.requests.saturating_sub(before.requests),
            errors: traffic.errors.saturating_sub(before.errors),
        };
        self.sum = self.sum.plus(more);
        self.last = *traffic;
    }
}

#[cfg(test)]
mod tests {
    use tidegate_store::{Gates, Note, Step, Steps};

    use super::*;

    fn rollout() -> Rollout {
        let step = Step {
            percent: 50,
            workers: 0,
            bake_ms: 0,
            gates: Gates::default(),
        };
        Rollout {
            id: 8,
            stable: 7,
            canary: 8,
            steps: Steps {
                steps: vec![step],
                note: Note::default(),
            },
            step: 0,
            since_unix_ms: 0,
            paused: false,
        }
    }

    fn worker(name: &str, version: u64, requests: u64, errors: u64) -> Worker {
        Worker {
            name: name.to_owned(),
            traffic: Some(Traffic {
                version,
                requests,
                errors,
            }),
            ..Worker::default()
        }
    }

    /// Whoever serves the new version is in the step.
    fn take(tally: &mut Tally, connected: &[Worker]) {
        let serves = |worker: &Worker| worker.traffic.is_some_and(|traffic| traffic.version >= 8);
        tally.take(&rollout(), connected, serves);
    }

    #[test]
    fn the_others_count_from_when_the_rollout_is_looked_at() {
        let mut tally = Tally::default();
        let before = [worker("new", 8, 40, 4), worker("old", 7, 9_000, 900)];
        take(&mut tally, &before);
        assert_eq!(
            tally.step(),
            Answers {
                requests: 40,
                errors: 4
            }
        );
        assert_eq!(tally.others(), Answers::default());
        let now = [worker("new", 8, 240, 24), worker("old", 7, 9_200, 901)];
        take(&mut tally, &now);
        assert_eq!(
            tally.step(),
            Answers {
                requests: 240,
                errors: 24
            }
        );
        assert_eq!(
            tally.others(),
            Answers {
                requests: 200,
                errors: 1
            }
        );
        assert_eq!(
            (tally.step().permille(), tally.others().permille()),
            (100, 5)
        );
    }

    #[test]
    fn counts_go_on_over_versions_that_follow_addresses() {
        let mut tally = Tally::default();
        take(&mut tally, &[worker("new", 8, 100, 10)]);
        take(&mut tally, &[worker("new", 9, 50, 0)]);
        assert_eq!(
            tally.step(),
            Answers {
                requests: 150,
                errors: 10
            }
        );
    }

    #[test]
    fn the_others_are_remembered_when_all_are_in_the_step() {
        let mut tally = Tally::default();
        take(&mut tally, &[worker("one", 7, 0, 0)]);
        take(&mut tally, &[worker("one", 7, 1_000, 20)]);
        take(&mut tally, &[worker("one", 8, 300, 9)]);
        assert_eq!(
            (tally.step().permille(), tally.others().permille()),
            (30, 20)
        );
    }

    #[test]
    fn a_worker_outside_the_step_is_one_of_the_others_whatever_its_version() {
        let mut tally = Tally::default();
        for requests in [0, 500] {
            let other = worker("other", 9, requests, requests);
            tally.take(&rollout(), &[other], |_| false);
        }
        assert_eq!((tally.step().requests, tally.others().requests), (0, 500));
    }
}
