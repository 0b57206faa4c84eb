//! Routes: which listeners they attach to, what their rules become, and their status.

mod attach;
mod backend_ref;
mod compile;
mod filter;
mod join;
mod kind;
mod l4;
mod matcher;
pub(crate) mod outranked;
mod rules;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_ir::{EncodedPart, PartName};

use crate::api::meta::ParentReference;
use crate::backend_object::{BackendObject, BackendPort};
use crate::diagnostic::Diagnostic;
use crate::objects::{ObjectKey, Place};
use crate::status::{Condition, ObjectStatus, conditions};

pub(crate) use attach::namespace_labels;
pub(crate) use compile::{Surroundings, compile};
pub(crate) use filter::listener_auth;
pub(crate) use kind::RouteKind;
pub(crate) use view::{RouteObject, RouteView};

/// Something that the outcome of a route was computed from, besides the route itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dependency {
    /// The listeners of a Gateway, or that it is not there.
    Gateway(Place),
    /// A Service, ServiceImport or XBackend, and the policies on it.
    Backend(BackendObject),
    /// The Gateway of a ListenerSet, or that it is not there.
    ListenerSet(Place),
    /// The ReferenceGrants of a namespace; the name is empty.
    Grants(Place),
    /// The labels of a Namespace.
    Namespace(Place),
}

/// All that a route adds to a compilation. There are many of them with few things each, so these are no trees.
#[derive(Debug)]
pub(crate) struct RouteOutcome {
    pub(crate) key: ObjectKey,
    pub(crate) created_at_unix_s: i64,
    /// Each once, in order, as in the lists below.
    pub(crate) dependencies: Box<[Dependency]>,
    /// `None` if no parent is ours.
    pub(crate) status: Option<ObjectStatus>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The listeners that count it as attached: Gateway and part name.
    pub(crate) attached: Box<[(Place, PartName)]>,
    /// For each pool that serves it.
    pub(crate) parts: Box<[(Arc<str>, EncodedPart)]>,
    /// The ports of backends that the parts refer to.
    pub(crate) backends: Box<[BackendPort]>,
}

impl RouteOutcome {
    /// The pools that serve it.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().map(|(pool, _)| pool)
    }

    /// Its part in a pool that serves it.
    pub(crate) fn part_in(&self, pool: &str) -> Option<&EncodedPart> {
        let mut parts = self.parts.iter();
        parts.find(|(own, _)| **own == *pool).map(|(_, part)| part)
    }

    /// The Gateways that take it.
    pub(crate) fn gateways(&self) -> BTreeSet<&Place> {
        self.attached.iter().map(|(gateway, _)| gateway).collect()
    }

    /// The objects that it names as backends, whether they can be used or not.
    pub(crate) fn backend_objects(&self) -> impl Iterator<Item = &BackendObject> {
        self.dependencies
            .iter()
            .filter_map(|dependency| match dependency {
                Dependency::Backend(object) => Some(object),
                _ => None,
            })
    }
}

/// Findings about one route.
pub(crate) struct Findings<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Findings<'_> {
    pub(crate) fn report(&mut self, field: &str, code: &crate::codes::Code, message: &str) {
        let field = format!("spec.{field}");
        self.diagnostics
            .push(Diagnostic::new(self.key, field, code, message));
    }
}

/// One entry of `status.parents`.
pub(crate) fn parent_status(
    parent: &ParentReference,
    controller_name: &str,
    own: &[Condition],
    generation: i64,
) -> Value {
    let mut reference = json!({
        "group": parent.group,
        "kind": parent.kind,
        "name": parent.name,
    });
    if let Some(namespace) = &parent.namespace {
        reference["namespace"] = json!(namespace);
    }
    if let Some(section_name) = &parent.section_name {
        reference["sectionName"] = json!(section_name);
    }
    if let Some(port) = parent.port {
        reference["port"] = json!(port);
    }
    json!({
        "parentRef": reference,
        "controllerName": controller_name,
        "conditions": conditions(own, generation),
    })
}
