//! Statuses with ancestors: of the policies on backends, and of XBackends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::PolicyKey;
use super::status::PolicyStatus;
use super::tls::Validated;
use crate::api::GATEWAY_GROUP;
use crate::backend_object::BackendObject;
use crate::codes::{self, Code};
use crate::diagnostic::Diagnostic;
use crate::objects::{ObjectKey, Objects, Place};
use crate::status::{Condition, ObjectStatus, conditions};
use crate::totals::Totals;
use crate::x_backend;

/// The most entries of `status.ancestors` of an XBackend.
const X_BACKEND_ANCESTORS_MAX: usize = 32;

/// An object whose status has ancestors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Policy(PolicyKey),
    XBackend(Place),
}

/// All that a subject adds to a compilation, besides what it does to backends.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` if no Gateway of ours is concerned.
    pub(crate) status: Option<ObjectStatus>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The outcomes of all subjects, kept until something that they depend on changes.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    outcomes: BTreeMap<Subject, Outcome>,
    stale: BTreeSet<Subject>,
}

impl Outcomes {
    /// Notes that a subject has changed, come or gone.
    pub(crate) fn forget(&mut self, subject: Subject) {
        self.stale.insert(subject);
    }

    /// Notes that something has changed for all that is on an object.
    pub(crate) fn forget_on(&mut self, objects: &Objects, object: &BackendObject) {
        if object.kind == tidegate_ir::BackendKind::XBackend {
            self.forget(Subject::XBackend(object.place.clone()));
        }
        let policies = objects.policies_by_target.get(object);
        let policies = policies.into_iter().flatten().cloned();
        self.stale.extend(policies.map(Subject::Policy));
    }

    /// Makes the outcomes that are missing.
    pub(crate) fn refresh(&mut self, objects: &Objects, totals: &mut Totals, controller: &str) {
        for object in totals.take_touched_objects() {
            self.forget_on(objects, &object);
        }
        for subject in std::mem::take(&mut self.stale) {
            match compile(&subject, objects, totals, controller) {
                Some(outcome) => drop(self.outcomes.insert(subject, outcome)),
                None => drop(self.outcomes.remove(&subject)),
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.values()
    }
}

/// `None` if the object is not there.
fn compile(
    subject: &Subject,
    objects: &Objects,
    totals: &Totals,
    controller: &str,
) -> Option<Outcome> {
    match subject {
        Subject::Policy(policy) => {
            let head = objects.policy(policy)?;
            Some(PolicyStatus::new(objects, policy, head).outcome(totals, controller))
        }
        Subject::XBackend(place) => x_backend_outcome(place, objects, totals, controller),
    }
}

/// The condition about references to authorities and certificates.
pub(super) fn resolved_refs(validated: &Validated) -> Condition {
    let message = "All references are resolved";
    match &validated.unresolved {
        None => Condition::yes("ResolvedRefs", "ResolvedRefs", message),
        Some((reason, message)) => Condition::no("ResolvedRefs", reason, message),
    }
}

fn x_backend_outcome(
    place: &Place,
    objects: &Objects,
    totals: &Totals,
    controller: &str,
) -> Option<Outcome> {
    let backend = objects.x_backends.get(place)?;
    let validated = x_backend::security(objects, backend);
    let mut diagnostics = vec![];
    let mut report = |field: &str, code: &Code, message: &str| {
        let field = format!("spec.{field}");
        diagnostics.push(Diagnostic::new(&backend.key, field, code, message));
    };
    for (field, message) in validated.iter().flat_map(|validated| &validated.findings) {
        report(field, &codes::POLICY_INVALID, message);
    }
    if validated.is_none() && backend.spec.external_hostname.is_some() {
        let message = "requests leave the cluster without TLS; set tls.mode to ServerOnly";
        report("tls", &codes::BACKEND_PLAIN, message);
    }
    let refused = validated
        .as_ref()
        .and_then(|validated| validated.refused.as_ref());
    let accepted = match refused {
        None => Condition::yes("Accepted", "Accepted", "The backend is accepted"),
        Some((reason, message)) => Condition::no("Accepted", reason, message),
    };
    let own: Vec<_> = [accepted]
        .into_iter()
        .chain(validated.as_ref().map(resolved_refs))
        .collect();
    let object = BackendObject {
        kind: tidegate_ir::BackendKind::XBackend,
        place: place.clone(),
    };
    let gateways = totals.gateways_of(&object).take(X_BACKEND_ANCESTORS_MAX);
    let ancestors = gateways.map(|gateway| ancestor(gateway, controller, &own, backend.generation));
    let status = status(
        &backend.key,
        &backend.uid,
        backend.generation,
        ancestors.collect(),
    );
    Some(Outcome {
        status,
        diagnostics,
    })
}

/// One entry of `status.ancestors`.
pub(super) fn ancestor(
    gateway: &Place,
    controller: &str,
    own: &[Condition],
    generation: i64,
) -> Value {
    json!({
        "ancestorRef": {
            "group": GATEWAY_GROUP,
            "kind": "Gateway",
            "namespace": &*gateway.object.namespace,
            "name": &*gateway.object.name,
        },
        "controllerName": controller,
        "conditions": conditions(own, generation),
    })
}

/// The status; `None` without ancestors, so that nothing of ours is left there.
pub(super) fn status(
    key: &ObjectKey,
    uid: &str,
    generation: i64,
    ancestors: Vec<Value>,
) -> Option<ObjectStatus> {
    (!ancestors.is_empty()).then(|| ObjectStatus {
        key: key.clone(),
        uid: uid.to_owned(),
        generation,
        pool: None,
        ports: vec![],
        parameters: None,
        status: json!({ "ancestors": ancestors }).into(),
        shown: vec![],
    })
}
