//! Statuses with ancestors: of the policies on backends, and of XBackends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::tls::{self, Problem, Validated};
use super::{PolicyHead, PolicyKey, PolicyKind, section_of, winner};
use crate::api::GATEWAY_GROUP;
use crate::api::meta::PolicyTargetReference;
use crate::assembly::Totals;
use crate::backend_object::BackendObject;
use crate::codes::{self, Code};
use crate::diagnostic::Diagnostic;
use crate::objects::{ObjectKey, Objects, Place};
use crate::status::{Condition, ObjectStatus, conditions};
use crate::x_backend;

/// The most entries of `status.ancestors` of a policy.
const POLICY_ANCESTORS_MAX: usize = 16;
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

/// What is known of a policy before its ancestors are.
struct PolicyStatus<'a> {
    head: PolicyHead<'a>,
    kind: PolicyKind,
    /// What each target says, if it can be a backend at all.
    targets: Vec<(BackendObject, Option<Problem>)>,
    validated: Option<Validated>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> PolicyStatus<'a> {
    fn new(objects: &Objects, policy: &PolicyKey, head: PolicyHead<'a>) -> Self {
        let mut status = Self {
            head,
            kind: policy.kind,
            targets: vec![],
            validated: None,
            diagnostics: vec![],
        };
        for (index, target) in head.targets.iter().enumerate() {
            status.add_target(objects, index, target);
        }
        if policy.kind == PolicyKind::Tls
            && let Some(object) = objects.backend_tls_policies.get(&policy.place)
        {
            let validated = tls::of_policy(objects, head.key, &object.spec);
            for (field, message) in &validated.findings {
                status.report(field, &codes::POLICY_INVALID, message);
            }
            for option in tls::foreign_options(&object.spec) {
                let message = format!("option {option} is not ours and has no effect here");
                status.report("options", &codes::POLICY_OPTION, &message);
            }
            status.validated = Some(validated);
        }
        status
    }

    fn report(&mut self, field: &str, code: &Code, message: &str) {
        let field = format!("spec.{field}");
        self.diagnostics
            .push(Diagnostic::new(self.head.key, field, code, message));
    }

    fn add_target(&mut self, objects: &Objects, index: usize, target: &PolicyTargetReference) {
        let field = format!("targetRefs[{index}]");
        let Some(object) = self.head.object(target) else {
            let message = format!(
                "{} of group {:?} is not supported as a target; use a Service",
                target.kind, target.group
            );
            self.report(&field, &codes::POLICY_TARGET, &message);
            return;
        };
        let problem = self.problem(objects, &object, target).err();
        let problem = problem.map(|(reason, message)| {
            let code = match reason {
                "Conflicted" => &codes::POLICY_CONFLICT,
                _ => &codes::POLICY_TARGET,
            };
            self.report(&field, code, &message);
            (reason, format!("{field}: {message}"))
        });
        self.targets.push((object, problem));
    }

    fn problem(
        &self,
        objects: &Objects,
        object: &BackendObject,
        target: &PolicyTargetReference,
    ) -> Result<(), Problem> {
        if object.key(objects).is_none() {
            let message = format!("{object} does not exist; create it or correct the name");
            return Err(("TargetNotFound", message));
        }
        let section = section_of(target);
        match (section, object.ports(objects)) {
            (Some(section), Some(ports)) if !ports.has_port_named(section) => {
                let names = ports.port_names();
                let message = format!("{object} has no port named {section}; {names}");
                return Err(("TargetNotFound", message));
            }
            (Some(section), None) => {
                let message = format!("{object} has no section {section}; remove sectionName");
                return Err(("TargetNotFound", message));
            }
            _ => {}
        }
        match winner(objects, self.kind, object, section) {
            Some(winner) if winner.key == self.head.key => Ok(()),
            Some(winner) => {
                let message = format!(
                    "{} is for {object}, too, and comes first; remove one of them",
                    winner.key
                );
                Err(("Conflicted", message))
            }
            None => {
                let message = format!(
                    "{object} has TLS of its own; set spec.tls there and remove the policy"
                );
                Err(("Invalid", message))
            }
        }
    }

    fn outcome(mut self, totals: &Totals, controller: &str) -> Outcome {
        let objects = self.targets.iter().map(|(object, _)| object);
        let gateways: BTreeSet<&Place> = objects
            .flat_map(|object| totals.gateways_of(object))
            .collect();
        let usable = self.targets.iter().any(|(_, problem)| problem.is_none());
        if gateways.is_empty() && usable {
            let message = "no route of our Gateways leads to its targets, so it has no effect";
            self.report("targetRefs", &codes::POLICY_UNUSED, message);
        }
        if gateways.len() > POLICY_ANCESTORS_MAX {
            let message = format!(
                "{} Gateways lead to its targets; the status has the first {POLICY_ANCESTORS_MAX}",
                gateways.len()
            );
            self.report("targetRefs", &codes::POLICY_ANCESTORS, &message);
        }
        let shown = gateways.into_iter().take(POLICY_ANCESTORS_MAX);
        let ancestors = shown.map(|gateway| {
            let own = self.conditions(gateway, totals);
            ancestor(gateway, controller, &own, self.head.generation)
        });
        let head = self.head;
        let status = status(head.key, head.uid, head.generation, ancestors.collect());
        let mut diagnostics = self.diagnostics;
        diagnostics.sort();
        Outcome {
            status,
            diagnostics,
        }
    }

    /// The conditions for one Gateway: only what it leads to counts.
    fn conditions(&self, gateway: &Place, totals: &Totals) -> Vec<Condition> {
        let reached = self.targets.iter();
        let mut reached =
            reached.filter(|(object, _)| totals.gateways_of(object).any(|own| own == gateway));
        let target = reached.find_map(|(_, problem)| problem.as_ref());
        let own = self
            .validated
            .as_ref()
            .and_then(|validated| validated.refused.as_ref());
        let accepted = match target.or(own) {
            None => Condition::yes("Accepted", "Accepted", "The policy is accepted"),
            Some((reason, message)) => Condition::no("Accepted", reason, message),
        };
        let resolved = self.validated.as_ref().map(resolved_refs);
        [accepted].into_iter().chain(resolved).collect()
    }
}

fn resolved_refs(validated: &Validated) -> Condition {
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
fn ancestor(gateway: &Place, controller: &str, own: &[Condition], generation: i64) -> Value {
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

fn status(
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
        status: Arc::new(json!({ "ancestors": ancestors })),
    })
}
