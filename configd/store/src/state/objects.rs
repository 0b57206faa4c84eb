//! Objects: what a batch makes of them.

use std::sync::Arc;

use tidegate_proto::{
    objects::v1::{Object, Operation, operation, precondition},
    raft::v1,
};

use super::walk::{self, Walk};
use super::{RequestKey, State};
use crate::{
    command::Outcome,
    key::{ObjectKey, StoredObject},
};

/// Answers that are remembered for retries.
const REQUESTS_MAX: usize = 1_024;
/// Sources, at most.
const SOURCES_MAX: usize = 1_000;

/// What becomes of objects of one source, each once. All of them differ from before.
pub(super) type Plan = Vec<(ObjectKey, Difference)>;

/// What an object is and becomes; `None` where there is none.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    pub(super) before: Option<Arc<StoredObject>>,
    pub(super) after: Option<Arc<StoredObject>>,
}

impl State {
    /// What a batch would come to, if it were carried out now.
    pub(crate) fn preview(&self, put: &v1::PutObjects) -> Outcome {
        let planned = self.planned(self.revision + 1, put);
        planned.map_or_else(
            |failed| failed,
            |plan| Outcome::Applied {
                revision: self.revision,
                changed: count(plan.len()),
            },
        )
    }

    /// Carries out a batch that comes without a session, once.
    pub(super) fn put_objects(
        &mut self,
        index: u64,
        put: &v1::PutObjects,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        let request = (put.source.clone(), put.request_id.clone());
        if let Some(answer) = self.answers.get(&request) {
            return answer.clone();
        }
        let outcome = self.carry_out(index, put, changed);
        let final_answer = matches!(
            outcome,
            Outcome::Applied { .. } | Outcome::PreconditionFailed { .. }
        );
        if final_answer && !request.1.is_empty() {
            self.remember(request, outcome.clone());
        }
        outcome
    }

    /// Carries out a batch.
    pub(super) fn carry_out(
        &mut self,
        index: u64,
        put: &v1::PutObjects,
        changed: &mut Vec<ObjectKey>,
    ) -> Outcome {
        match self.planned(index, put) {
            Ok(plan) => {
                let of = count(plan.len());
                self.store(index, &put.source, plan, changed);
                Outcome::Applied {
                    revision: self.revision,
                    changed: of,
                }
            }
            Err(failed) => failed,
        }
    }

    /// Puts a plan in force.
    pub(super) fn store(
        &mut self,
        index: u64,
        source: &str,
        plan: Plan,
        changed: &mut Vec<ObjectKey>,
    ) {
        if plan.is_empty() {
            return;
        }
        self.revision = index;
        let replaced = plan.iter().filter(|(_, change)| change.before.is_some());
        let replaced = replaced.filter_map(|(_, change)| change.after.clone());
        walk::replace(&mut self.objects, replaced);
        let mut of = self.sources.remove(source).unwrap_or_default();
        for (key, Difference { before, after }) in plan {
            of.count(len_of(before.as_ref()), len_of(after.as_ref()));
            match (before, after) {
                (None, Some(object)) => drop(self.objects.insert(key.clone(), object)),
                (_, None) => {
                    self.tombstones.push(index, key.clone());
                    self.objects.remove(&key);
                }
                // It was replaced with the others.
                (Some(_), Some(_)) => {}
            }
            of.release(&key);
            changed.push(key);
        }
        self.keep_source(source, of);
    }

    /// Whether a plan leaves its source within its bounds.
    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    pub(super) fn room(&self, source: &str, plan: &Plan) -> Result<(), Outcome> {
        let Some(of) = self.sources.get(source) else {
            return match self.sources.len() < SOURCES_MAX {
                true => Self::room_of(&crate::Source::default(), plan),
                false => Err(too_many_sources()),
            };
        };
        Self::room_of(of, plan)
    }

    /// Whether another source may come.
    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    pub(super) fn room_for_source(&self, source: &str) -> Result<(), Outcome> {
        match self.sources.contains_key(source) || self.sources.len() < SOURCES_MAX {
            true => Ok(()),
            false => Err(too_many_sources()),
        }
    }

    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    fn room_of(source: &crate::Source, plan: &Plan) -> Result<(), Outcome> {
        let before = (source.objects, source.bytes);
        let mut after = before;
        for (_, change) in plan {
            if let Some(old) = &change.before {
                after = (after.0 - 1, after.1 - old.content.len() as u64);
            }
            if let Some(new) = &change.after {
                after = (after.0 + 1, after.1 + new.content.len() as u64);
            }
        }
        let room = source.policy.room(before, after);
        room.map_err(Outcome::SourceRefused)
    }

    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    fn planned(&self, index: u64, put: &v1::PutObjects) -> Result<Plan, Outcome> {
        let revision = self.revision;
        if put.base_revision.is_some_and(|base| base != revision) {
            return Err(Outcome::BaseMoved { revision });
        }
        let plan = self.plan(index, &put.operations)?;
        self.room(&put.source, &plan)?;
        Ok(plan)
    }

    /// What the batch makes of the objects that it touches; only those that differ from before.
    #[allow(
        clippy::result_large_err,
        reason = "the error is the answer, and it is moved once"
    )]
    fn plan(&self, index: u64, operations: &[Operation]) -> Result<Plan, Outcome> {
        let mut plan = Plan::with_capacity(operations.len());
        let mut failed: Option<(usize, ObjectKey, Option<u64>)> = None;
        let mut stored = Walk::new(&self.objects);
        for step in in_order(operations) {
            let Step {
                key,
                at,
                operation,
                put,
            } = step;
            let is_same = plan.last().is_some_and(|(last, _)| *last == key);
            if !is_same {
                plan.push((key.clone(), Difference::none_of(stored.find(&key))));
            }
            let (_, change) = plan.last_mut().expect("the key is there");
            if !holds(operation, change.after.as_deref()) {
                let found = change.after.as_ref().map(|object| object.revision);
                // The first one of the batch is told.
                if failed.as_ref().is_none_or(|(first, ..)| at < *first) {
                    failed = Some((at, key, found));
                }
                continue;
            }
            change.after = put.map(|object| Arc::new(StoredObject::new(key, object, index)));
        }
        if let Some((at, key, found)) = failed {
            let index = u32::try_from(at).expect("a batch has at most 20,000 changes");
            return Err(Outcome::PreconditionFailed { index, key, found });
        }
        plan.retain(|(_, change)| match (&change.before, &change.after) {
            (None, None) => false,
            (Some(old), Some(new)) => !old.same_as(new),
            _ => true,
        });
        Ok(plan)
    }

    fn remember(&mut self, request: RequestKey, outcome: Outcome) {
        self.answers.insert(request.clone(), outcome);
        self.requests.push_back(request);
        if self.requests.len() > REQUESTS_MAX
            && let Some(oldest) = self.requests.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

impl Difference {
    /// A stored object goes.
    pub(super) fn deletion(object: Arc<StoredObject>) -> (ObjectKey, Self) {
        let (before, after) = (Some(object.clone()), None);
        (object.key.clone(), Self { before, after })
    }

    /// No change yet.
    fn none_of(stored: Option<&Arc<StoredObject>>) -> Self {
        let before = stored.cloned();
        let after = before.clone();
        Self { before, after }
    }
}

/// An operation of a batch.
struct Step<'o> {
    /// The object that it is about.
    key: ObjectKey,
    /// Its place in the batch.
    at: usize,
    operation: &'o Operation,
    /// What it stores; `None` where it deletes.
    put: Option<&'o Object>,
}

/// The operations by the keys of their objects; those of one object in the order of the batch.
fn in_order(operations: &[Operation]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::with_capacity(operations.len());
    for (at, operation) in operations.iter().enumerate() {
        let (key, put) = match operation.operation.as_ref() {
            Some(operation::Operation::Put(object)) => (object.key.as_ref(), Some(object)),
            Some(operation::Operation::Delete(key)) => (Some(key), None),
            None => continue,
        };
        let Some(key) = key else { continue };
        steps.push(Step {
            key: ObjectKey::after(steps.last().map(|last| &last.key), key),
            at,
            operation,
            put,
        });
    }
    steps.sort_by(|one, other| one.key.cmp(&other.key));
    steps
}

fn len_of(object: Option<&Arc<StoredObject>>) -> Option<usize> {
    object.map(|object| object.content.len())
}

/// How many changes there are, as the outcome says it.
pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn too_many_sources() -> Outcome {
    let reason = format!("there are {SOURCES_MAX} sources already");
    Outcome::Refused { reason }
}

fn holds(operation: &Operation, current: Option<&StoredObject>) -> bool {
    use precondition::Condition;
    match operation
        .precondition
        .as_ref()
        .and_then(|precondition| precondition.condition.as_ref())
    {
        None => true,
        Some(Condition::Revision(revision)) => {
            current.is_some_and(|object| object.revision == *revision)
        }
        Some(Condition::Absent(absent)) => current.is_none() == *absent,
    }
}
