//! Compares what the front says, what the server forwarded, and what the client got.

use std::collections::{BTreeMap, BTreeSet};

use crate::smuggling::run::Run;
use crate::tidegate::Logged;

/// What was found of one server.
#[derive(Debug, Default)]
pub struct Verdict {
    /// By kind of mutation: how many there were, were refused by the front, were passed on.
    pub kinds: BTreeMap<&'static str, Counts>,
    /// What went wrong, with the id of the mutation.
    pub desyncs: Vec<(usize, String)>,
}

/// Mutations of one kind.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// All.
    pub all: usize,
    /// None of their bytes went to the server as a request.
    pub refused: usize,
    /// At least one request of theirs was forwarded.
    pub forwarded: usize,
}

/// What stands in a target: which request of a run, and the run's id.
type Marker = (char, usize);

#[derive(Debug, Default)]
struct Traffic {
    /// Requests that the front forwarded.
    forwarded: usize,
    /// And that were answered with 200.
    answered: usize,
    /// Requests behind the server.
    seen: usize,
}

/// Judges all runs of a server.
#[must_use]
pub fn judge(runs: &[Run], logged: &[Logged], targets: &[String]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut traffic: BTreeMap<Marker, Traffic> = BTreeMap::new();
    let mut by_run: BTreeMap<(&str, usize), Vec<Marker>> = BTreeMap::new();
    let ids: BTreeSet<_> = runs.iter().map(|run| run.id).collect();
    for line in logged.iter().filter(|line| line.is_forwarded) {
        let Some(marker) = marker(&line.path).filter(|(_, id)| ids.contains(id)) else {
            continue;
        };
        by_run
            .entry((&line.client, marker.1))
            .or_default()
            .push(marker);
        let traffic = traffic.entry(marker).or_default();
        traffic.forwarded += 1;
        traffic.answered += usize::from(line.status == 200);
    }
    for target in targets {
        match marker(target) {
            Some(marker) => traffic.entry(marker).or_default().seen += 1,
            None if target.starts_with("invalid") => {
                verdict
                    .desyncs
                    .push((0, format!("the server forwarded what is {target}")));
            }
            None => {}
        }
    }
    for ((letter, id), traffic) in &traffic {
        let Traffic {
            forwarded,
            answered,
            seen,
        } = traffic;
        if seen > forwarded || seen < answered {
            let what = format!(
                "/{letter}{id}: the front forwarded {forwarded}, {answered} of them answered; the server saw {seen}"
            );
            verdict.desyncs.push((*id, what));
        }
    }
    for run in runs {
        let forwarded = by_run.remove(&(&*run.client, run.id));
        verdict.run(run, forwarded.unwrap_or_default());
    }
    verdict
}

impl Verdict {
    /// `forwarded` is what the front forwarded of the run's first connection.
    fn run(&mut self, run: &Run, mut forwarded: Vec<Marker>) {
        let counts = self.kinds.entry(run.kind).or_default();
        let is_refused = forwarded.iter().all(|(letter, _)| *letter == 'a');
        counts.all += 1;
        counts.refused += usize::from(is_refused);
        counts.forwarded += usize::from(!is_refused);
        let wanted = format!("/b{}", run.id);
        if run.fresh.as_deref() != Some(&wanted) {
            let what = format!("a fresh connection got {:?}, not {wanted:?}", run.fresh);
            self.desyncs.push((run.id, what));
        }
        if let Some(reason) = &run.invalid {
            let what = format!("the client got what is no answer: {reason}");
            self.desyncs.push((run.id, what));
        }
        for answer in &run.answers {
            let Some(answered) = marker(answer) else {
                continue;
            };
            match forwarded.iter().position(|marker| *marker == answered) {
                Some(at) => drop(forwarded.remove(at)),
                None => {
                    let what = format!("the client got the answer to {answer}");
                    self.desyncs.push((run.id, what));
                }
            }
        }
    }
}

/// The letter and number that stand in a target: `/s10017`.
fn marker(target: &str) -> Option<Marker> {
    let starts = target.match_indices('/').map(|(at, _)| &target[at + 1..]);
    starts.into_iter().find_map(|rest| {
        let letter = rest
            .chars()
            .next()
            .filter(|letter| "msab".contains(*letter))?;
        let id = rest.get(1..6)?.parse().ok()?;
        Some((letter, id))
    })
}
