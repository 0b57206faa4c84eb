//! Which version changed a part last, and which parts are made of an object.

use std::sync::Arc;

use tidegate_ir::PartKind;
use tidegate_proto::history::v1::{
    BlameRequest, BlameResponse, BlamedPart, ObjectName, blame_request::What,
};
use tidegate_proto::ir::v1::PartKey;
use tidegate_proto::snapshots::v1::ChangeType;
use tidegate_store::{PartChange, SnapshotMeta, Store};
use tonic::Status;

use super::version;
use crate::error::{self, Violation};
use crate::wire;

/// Parts of one answer, at most.
const PARTS_MAX: usize = 10_000;

/// Kinds whose objects become parts by name.
const KINDS: &str = "Gateway, ListenerSet, HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute, Service, ServiceImport, \
                     XBackend, Secret";

/// The last change of each part that a request asks about.
pub(super) fn answer(store: &Store, request: BlameRequest) -> Result<BlameResponse, Status> {
    let head = version::newest(store, &request.pool)?;
    let everything = request.what.is_none();
    let mut changes = match &request.what {
        None => store.last_changes(&head.pool, |_, _| true),
        Some(What::Part(part)) => store.last_changes(&head.pool, |kind, name| {
            kind == part.kind && name == part.name
        }),
        Some(What::Object(object)) => {
            check(object)?;
            store.last_changes(&head.pool, |kind, name| is_made_of(object, kind, name))
        }
    };
    if everything {
        changes.retain(|(change, _)| change.after.is_some());
    } else if changes.is_empty() {
        let text = format!(
            "no version of pool {} that is kept has such a part",
            head.pool
        );
        return Err(error::missing("part", "", text));
    }
    let truncated = changes.len() > PARTS_MAX;
    changes.truncate(PARTS_MAX);
    let marks = store.marks(&head.pool);
    let blamed = |(change, by): (PartChange, Option<Arc<SnapshotMeta>>)| BlamedPart {
        part: Some(PartKey {
            kind: change.kind,
            name: change.name.to_string(),
        }),
        r#type: change_type(&change, by.is_some()).into(),
        snapshot: by.map(|meta| wire::marked_info(&meta, &marks)),
    };
    let parts = changes.into_iter().map(blamed).collect();
    Ok(BlameResponse { parts, truncated })
}

fn change_type(change: &PartChange, is_known: bool) -> ChangeType {
    match (is_known, change.before, change.after) {
        (false, ..) => ChangeType::Unspecified,
        (true, None, _) => ChangeType::Added,
        (true, _, None) => ChangeType::Removed,
        (true, Some(_), Some(_)) => ChangeType::Modified,
    }
}

fn check(object: &ObjectName) -> Result<(), Status> {
    if KINDS.split(", ").any(|kind| kind == object.kind) {
        return Ok(());
    }
    let text = format!(
        "objects of kind {} make no parts of their own; those of {KINDS} do",
        object.kind
    );
    Err(error::invalid(&[Violation::new("object.kind", text)]))
}

/// Whether a part is made of an object, by the names that the compiler gives parts.
fn is_made_of(object: &ObjectName, kind: i32, part: &str) -> bool {
    use PartKind as P;
    let place = format!("{}/{}", object.namespace, object.name);
    let Some(kind) = P::from_number(kind) else {
        return false;
    };
    // Names of these begin with the source, which is one element.
    let inside = part.split_once('/').map_or("", |(_, inside)| inside);
    let is_below = |whole: &str, above: &str| {
        let rest = whole.strip_prefix(above);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    match (object.kind.as_str(), kind) {
        ("Gateway", P::Listener) => {
            is_below(part, &place) && !part[place.len()..].starts_with("/ListenerSet/")
        }
        ("ListenerSet", P::Listener) => part.contains(&format!("/ListenerSet/{place}/")),
        ("Service", P::Backend | P::EndpointSet) => is_below(inside, &place),
        ("ServiceImport" | "XBackend", P::Backend | P::EndpointSet) => {
            is_below(inside, &format!("{}/{place}", object.kind))
        }
        ("Secret", P::Certificate | P::PrivateKey) => inside == place,
        (_, P::Route | P::L4Route) => part == format!("{}/{place}", object.kind),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(kind: &str, part_kind: PartKind, part: &str) -> bool {
        let object = ObjectName {
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        is_made_of(&object, part_kind.number(), part)
    }

    #[test]
    fn parts_are_told_from_those_of_objects_with_similar_names() {
        assert!(made_of("Gateway", PartKind::Listener, "shop/web/http"));
        assert!(!made_of("Gateway", PartKind::Listener, "shop/web2/http"));
        let of_set = "infra/gw/ListenerSet/shop/web/http";
        assert!(made_of("ListenerSet", PartKind::Listener, of_set));
        let of_another = "shop/web/ListenerSet/team/x/http";
        assert!(!made_of("Gateway", PartKind::Listener, of_another));
        assert!(made_of(
            "Service",
            PartKind::Backend,
            "files/shop/web/80/grpc"
        ));
        assert!(!made_of(
            "Service",
            PartKind::Backend,
            "files/XBackend/shop/web/80"
        ));
        assert!(made_of(
            "XBackend",
            PartKind::Backend,
            "files/XBackend/shop/web/80"
        ));
        assert!(made_of("HTTPRoute", PartKind::Route, "HTTPRoute/shop/web"));
        assert!(!made_of("GRPCRoute", PartKind::Route, "HTTPRoute/shop/web"));
    }
}
