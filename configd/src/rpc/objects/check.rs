//! Refuses objects that the store could not keep or the compiler could not read.

use std::collections::BTreeSet;

use serde::Deserialize;
use tidegate_compiler::Checked;
use tidegate_proto::objects::v1::{ApplyRequest, Object, ObjectKey, operation};

use crate::error::Violation;
use crate::name;

/// Changes of a batch, at most.
const OPERATIONS_MAX: usize = 20_000;

/// Bytes of an object, at most: the bound that the Kubernetes API server keeps in practice.
const OBJECT_BYTES_MAX: usize = 1 << 20;

/// Violations that are reported, at most.
const VIOLATIONS_MAX: usize = 100;

/// Everything that is wrong with a batch. Objects that are right are handed to `right`, also where others are wrong.
pub(crate) fn batch(
    request: &ApplyRequest,
    mut right: impl FnMut(&Object, Checked),
) -> Vec<Violation> {
    let mut violations = source(&request.source);
    if request.operations.is_empty() || request.operations.len() > OPERATIONS_MAX {
        let count = request.operations.len();
        let text = format!("a batch has 1 to {OPERATIONS_MAX} operations, this one has {count}");
        violations.push(Violation::new("operations", text));
    }
    for (index, operation) in request.operations.iter().enumerate() {
        // Only what is wrong needs to be named.
        let field = |end: &str| format!("operations[{index}]{end}");
        violations.extend(match &operation.operation {
            Some(operation::Operation::Put(put)) => {
                let field = |end: &str| field(&format!(".put{end}"));
                object(&request.source, field, put, &mut right)
            }
            Some(operation::Operation::Delete(delete)) => {
                let field = |end: &str| field(&format!(".delete{end}"));
                key(&request.source, field, delete)
            }
            None => vec![Violation::new(field(""), "set put or delete")],
        });
        if violations.len() >= VIOLATIONS_MAX {
            break;
        }
    }
    violations.truncate(VIOLATIONS_MAX);
    violations
}

/// Everything that is wrong with a piece of a full set, of which `seen` came before.
pub(super) fn piece(
    name: &str,
    objects: &[Object],
    seen: &mut BTreeSet<tidegate_store::ObjectKey>,
) -> Vec<Violation> {
    let mut violations = vec![];
    for put in objects {
        let index = seen.len();
        let field = |end: &str| format!("objects[{index}]{end}");
        violations.extend(object(name, field, put, |_, _| {}));
        let key = put.key.clone().unwrap_or_default().into();
        if !seen.insert(key) {
            let text = format!("{} is in the set twice", describe(put));
            violations.push(Violation::new(field(""), text));
        }
        if violations.len() >= VIOLATIONS_MAX {
            break;
        }
    }
    violations.truncate(VIOLATIONS_MAX);
    violations
}

/// What is wrong with the place of a write among those of its session.
pub(super) fn session(session: u64, sequence: u64) -> Vec<Violation> {
    let text = match (session, sequence) {
        (0, 0) | (1.., 1..) => return vec![],
        (0, _) => "a write without a session has no sequence",
        _ => "the writes of a session count from 1",
    };
    vec![Violation::new("sequence", text)]
}

pub(in crate::rpc) fn source(name: &str) -> Vec<Violation> {
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(label) {
        return vec![];
    }
    let text = format!("{name:?} is no source: use 1 to 63 lower case letters, digits and hyphens");
    vec![Violation::new("source", text)]
}

/// `field` names a field of the object in the request, such as `.key.kind`.
fn object(
    source: &str,
    field: impl Fn(&str) -> String,
    object: &Object,
    mut right: impl FnMut(&Object, Checked),
) -> Vec<Violation> {
    let Some(name) = &object.key else {
        return vec![Violation::new(field(".key"), "the object has no key")];
    };
    let violations = key(source, |end| field(&format!(".key{end}")), name);
    if !violations.is_empty() {
        return violations;
    }
    let content = |text: String| vec![Violation::new(field(".content"), text)];
    if object.content.len() > OBJECT_BYTES_MAX {
        let len = object.content.len();
        return content(format!(
            "{} has {len} bytes, more than the {OBJECT_BYTES_MAX} that an object may have; split it",
            describe(object)
        ));
    }
    let whole = (&*name.namespace, &*name.name);
    let usual = tidegate_compiler::check_named(&name.group, &name.kind, whole, &object.content);
    if let Some(checked) = usual {
        right(object, checked);
        return vec![];
    }
    if let Err(text) = named_as(name, &object.content) {
        return content(format!("{}: {text}", describe(object)));
    }
    match tidegate_compiler::check(&name.group, &name.kind, &object.content) {
        Ok(checked) => {
            right(object, checked);
            vec![]
        }
        Err(invalid) => invalid
            .into_iter()
            .map(|invalid| {
                let text = format!("{} {}: {}", describe(object), invalid.path, invalid.message);
                Violation::new(field(".content"), text)
            })
            .collect(),
    }
}

fn key(source: &str, field: impl Fn(&str) -> String, key: &ObjectKey) -> Vec<Violation> {
    let mut violations = vec![];
    let mut refuse = |name: &str, text: String| {
        violations.push(Violation::new(field(&format!(".{name}")), text));
    };
    if key.source != source {
        refuse(
            "source",
            format!(
                "the batch is of source {source}, the object of {}",
                key.source
            ),
        );
    }
    let lengths = [
        ("kind", key.kind.len(), 1, 63),
        ("name", key.name.len(), 1, 253),
        ("namespace", key.namespace.len(), 0, 63),
        ("group", key.group.len(), 0, 253),
    ];
    for (name, len, min, max) in lengths {
        if len < min || len > max {
            refuse(name, format!("it has {len} bytes, not {min} to {max}"));
        }
    }
    violations
}

#[derive(Deserialize)]
struct Named {
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

/// The key must be the object's own, else one object could pass for another.
fn named_as(key: &ObjectKey, content: &[u8]) -> Result<(), String> {
    let named: Named = serde_json::from_slice(content)
        .map_err(|error| format!("it is not the JSON of an object: {error}"))?;
    let same = named.kind == key.kind
        && named.metadata.name == key.name
        && named.metadata.namespace == key.namespace;
    if same {
        return Ok(());
    }
    let Named {
        kind,
        metadata: Metadata { name, namespace },
    } = named;
    Err(format!("its content says {kind} {namespace}/{name}"))
}

fn describe(object: &Object) -> String {
    object.key.as_ref().map(name::of_wire).unwrap_or_default()
}
