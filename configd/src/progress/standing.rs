//! Whether the workers of a pool serve a version, in words where they do not. Pure.

use tidegate_ir::{PartKey, PartKind};
use tidegate_proto::snapshots::v1::{Problem, Worker};
use tidegate_store::SnapshotMeta;

/// Workers that are named as late; the rest is counted.
const NAMED_MAX: usize = 3;

/// How a pool stands to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Every worker, and at least one, serves it or a newer one.
    Served,
    /// Not yet, and for whom it waits.
    Waits(String),
    /// A worker refuses it, and why.
    Refused(String),
}

/// How the workers of its pool stand to a version.
pub(crate) fn of(target: &SnapshotMeta, workers: &[Worker]) -> Standing {
    let (pool, version) = (&target.pool, target.version);
    let late: Vec<&Worker> = workers
        .iter()
        .filter(|worker| serves(worker) < version)
        .collect();
    if let Some(text) = late.iter().find_map(|worker| refusal(worker, version)) {
        return Standing::Refused(text);
    }
    if workers.is_empty() {
        return Standing::Waits(format!(
            "no worker of pool {pool} is connected to serve snapshot {version}"
        ));
    }
    if late.is_empty() {
        return Standing::Served;
    }
    let (served, all) = (workers.len() - late.len(), workers.len());
    let named = late.iter().take(NAMED_MAX);
    let named: Vec<String> = named
        .map(|worker| format!("{} serves {}", worker.name, serves(worker)))
        .collect();
    let rest = match late.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    Standing::Waits(format!(
        "{served} of {all} workers of pool {pool} serve snapshot {version}; {}{rest}",
        named.join(", ")
    ))
}

/// The version that a worker serves; 0 for none.
pub(crate) fn serves(worker: &Worker) -> u64 {
    let serving = worker.serving.as_ref();
    serving.map_or(0, |serving| serving.version)
}

/// Why a worker refuses a version or a newer one.
pub(crate) fn refusal(worker: &Worker, version: u64) -> Option<String> {
    let nack = worker.last_nack.as_ref()?;
    let refused = nack.id.as_ref().map_or(0, |id| id.version);
    let why = nack.problems.first().map(problem).unwrap_or_default();
    let text = format!(
        "worker {} of pool {} refuses snapshot {refused}",
        worker.name, worker.pool
    );
    (refused >= version).then(|| match why.as_str() {
        "" => text,
        why => format!("{text}: {why}"),
    })
}

fn problem(problem: &Problem) -> String {
    let part = problem.part.as_ref().and_then(|part| {
        let kind = PartKind::from_number(part.kind)?;
        Some(PartKey::new(kind, part.name.as_str()))
    });
    match part {
        Some(part) => format!("{part}: {}", problem.message),
        None => problem.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::ir::v1 as ir;
    use tidegate_proto::snapshots::v1::{Nack, SnapshotId};

    use super::*;
    use crate::fixtures::meta;

    fn id(version: u64) -> Option<SnapshotId> {
        Some(SnapshotId {
            version,
            ..SnapshotId::default()
        })
    }

    fn worker(name: &str, version: u64) -> Worker {
        Worker {
            pool: "p".into(),
            name: name.into(),
            serving: id(version),
            ..Worker::default()
        }
    }

    #[test]
    fn a_version_is_served_when_every_worker_has_it_or_a_newer_one() {
        let all = [worker("a", 8), worker("b", 9)];
        assert_eq!(of(&meta(8), &all), Standing::Served);
        let none = "no worker of pool p is connected to serve snapshot 8".to_owned();
        assert_eq!(of(&meta(8), &[]), Standing::Waits(none));
        let late = "1 of 2 workers of pool p serve snapshot 8; b serves 7".to_owned();
        let some = [worker("a", 8), worker("b", 7)];
        assert_eq!(of(&meta(8), &some), Standing::Waits(late));
    }

    #[test]
    fn a_refusal_names_worker_version_part_and_cause() {
        let mut refusing = worker("b", 7);
        let part = ir::PartKey {
            kind: PartKind::Route.number(),
            name: "HTTPRoute/shop/cart".to_owned(),
        };
        let problem = Problem {
            part: Some(part),
            message: "no such backend".to_owned(),
        };
        refusing.last_nack = Some(Nack {
            id: id(8),
            problems: vec![problem],
        });
        let text =
            "worker b of pool p refuses snapshot 8: Route HTTPRoute/shop/cart: no such backend";
        let standing = of(&meta(8), &[worker("a", 8), refusing.clone()]);
        assert_eq!(standing, Standing::Refused(text.to_owned()));
        refusing.last_nack = Some(Nack {
            id: id(6),
            problems: vec![],
        });
        let standing = of(&meta(8), &[refusing]);
        assert!(matches!(standing, Standing::Waits(_)), "{standing:?}");
    }
}
