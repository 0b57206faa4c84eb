//! What a batch of changes would make of parts, statuses and remarks. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_compiler::{Compilation, Compiler, Diagnostic, ObjectKey, Parts, Settings};
use tidegate_ir::{self as model, EncodedPart, Snapshot};
use tidegate_proto::objects::v1::{Operation, operation};
use tidegate_proto::plans::v1::{Plan, PlanInfo, PoolPlan, StatusChange};
use tidegate_store::StoredObject;

use crate::rpc::snapshots::read::part_change;
use crate::sealing::Unreadable;
use crate::wire;

/// Lines of each list in a plan, at most.
const LINES_MAX: usize = 10_000;

/// What would differ.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) pools: Vec<PoolPlan>,
    statuses: Vec<StatusChange>,
    added: Vec<Diagnostic>,
    resolved: Vec<Diagnostic>,
}

/// What reads stored objects.
type Stored<'a, F> = (&'a [Arc<StoredObject>], F);

/// Compiles the objects as they are, as `opened` reads them, and as the changes would make them. Takes as long as
/// two full compilations.
///
/// # Errors
/// Every object must be readable.
pub(crate) fn draft(
    settings: &Settings,
    stored: Stored<'_, impl Fn(&StoredObject) -> Result<Bytes, Unreadable>>,
    operations: &[Operation],
) -> Result<Draft, Unreadable> {
    let opened = stored.1;
    let mut compiler = loaded(settings, stored.0, &opened)?;
    let before = compiler.compile();
    change(&mut compiler, operations, &opened)?;
    let after = compiler.compile();
    Ok(Draft {
        pools: pools(&before, &after),
        statuses: statuses(&before, &after),
        added: missing(&before, &after),
        resolved: missing(&after, &before),
    })
}

/// What the changes would make of the objects.
///
/// # Errors
/// Every object must be readable.
pub(crate) fn changed(
    settings: &Settings,
    stored: Stored<'_, impl Fn(&StoredObject) -> Result<Bytes, Unreadable>>,
    operations: &[Operation],
) -> Result<Compilation, Unreadable> {
    let opened = stored.1;
    let mut compiler = loaded(settings, stored.0, &opened)?;
    change(&mut compiler, operations, &opened)?;
    Ok(compiler.compile())
}

fn loaded(
    settings: &Settings,
    objects: &[Arc<StoredObject>],
    opened: &impl Fn(&StoredObject) -> Result<Bytes, Unreadable>,
) -> Result<Compiler, Unreadable> {
    let mut compiler = Compiler::new(settings.clone());
    for object in objects {
        // What this release cannot read is left out of snapshots, too.
        let _ = compiler.put(wire::compiler_object(object, opened(object)?));
    }
    Ok(compiler)
}

fn change(
    compiler: &mut Compiler,
    operations: &[Operation],
    opened: &impl Fn(&StoredObject) -> Result<Bytes, Unreadable>,
) -> Result<(), Unreadable> {
    for operation in operations {
        match &operation.operation {
            Some(operation::Operation::Put(put)) => {
                let key = ObjectKey::from(put.key.clone().unwrap_or_default());
                let object = StoredObject {
                    key,
                    uid: put.uid.clone(),
                    generation: put.generation,
                    created_at_unix_s: put.created_at_unix_s,
                    content: put.content.clone(),
                    revision: 0,
                };
                let _ = compiler.put(wire::compiler_object(&object, opened(&object)?));
            }
            Some(operation::Operation::Delete(key)) => {
                compiler.remove(&key.into());
            }
            None => {}
        }
    }
    Ok(())
}

impl Draft {
    /// The plan as it travels.
    pub(crate) fn plan(self, info: PlanInfo) -> Plan {
        let diagnostics = |of: Vec<Diagnostic>| of.iter().map(wire::diagnostic).collect();
        Plan {
            info: Some(info),
            pools: self.pools,
            statuses: self.statuses,
            added: diagnostics(self.added),
            resolved: diagnostics(self.resolved),
        }
    }
}

fn pools(before: &Compilation, after: &Compilation) -> Vec<PoolPlan> {
    let empty = Arc::default();
    let mut names: Vec<&String> = before.pools.keys().chain(after.pools.keys()).collect();
    names.sort();
    names.dedup();
    let plan = |name: &String| {
        let parts = |of: &Compilation| of.pools.get(name).unwrap_or(&empty).clone();
        let changes = changes(name, &parts(before), &parts(after));
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let changes = changes.into_iter().take(LINES_MAX).map(part_change);
        (count > 0).then(|| PoolPlan {
            pool: name.clone(),
            changes: changes.collect(),
            parts: count,
            frozen: false,
        })
    };
    names.into_iter().filter_map(plan).collect()
}

fn changes(pool: &str, before: &Parts, after: &Parts) -> Vec<model::PartChange> {
    let only = |of: &Parts, other: &Parts| {
        let differs = |part: &&EncodedPart| other.get(part.key()) != Some(*part);
        let parts: Vec<EncodedPart> = of.values().filter(differs).cloned().collect();
        Snapshot::new(pool, 0, parts)
    };
    model::diff(&only(before, after), &only(after, before))
}

fn statuses(before: &Compilation, after: &Compilation) -> Vec<StatusChange> {
    let mut changes: BTreeMap<&ObjectKey, StatusChange> = BTreeMap::new();
    let text = |of: &Compilation, key: &ObjectKey| {
        let status = of.statuses.get(key);
        status.map(|status| status.status.as_str().to_owned())
    };
    for key in before.statuses.keys().chain(after.statuses.keys()) {
        let (old, new) = (before.statuses.get(key), after.statuses.get(key));
        if old.map(|old| &old.status) == new.map(|new| &new.status) {
            continue;
        }
        changes.entry(key).or_insert_with(|| StatusChange {
            key: Some(key.into()),
            before: text(before, key).unwrap_or_default().into(),
            after: text(after, key).unwrap_or_default().into(),
        });
    }
    changes.into_values().take(LINES_MAX).collect()
}

/// The remarks of `of` that `among` does not have.
fn missing(among: &Compilation, of: &Compilation) -> Vec<Diagnostic> {
    let new = of
        .diagnostics
        .keys()
        .filter(|remark| !among.diagnostics.contains_key(*remark));
    new.take(LINES_MAX).cloned().collect()
}
