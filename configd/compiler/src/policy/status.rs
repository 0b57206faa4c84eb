//! The status of a policy: whether it is in force for its targets, towards each Gateway.

use std::collections::BTreeSet;

use super::outcome::{Outcome, ancestor, resolved_refs, status};
use super::tls::{self, Problem, Validated};
use super::{PolicyHead, PolicyKey, PolicyKind, section_of, winner};
use crate::api::meta::PolicyTargetReference;
use crate::backend_object::BackendObject;
use crate::codes::{self, Code};
use crate::diagnostic::Diagnostic;
use crate::objects::{Objects, Place};
use crate::status::Condition;
use crate::totals::Totals;

/// The most entries of `status.ancestors`.
const ANCESTORS_MAX: usize = 16;

/// What is known of a policy before its ancestors are.
pub(super) struct PolicyStatus<'a> {
    head: PolicyHead<'a>,
    kind: PolicyKind,
    /// What each target says, if it can be a backend at all.
    targets: Vec<(BackendObject, Option<Problem>)>,
    validated: Option<Validated>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> PolicyStatus<'a> {
    pub(super) fn new(objects: &Objects, policy: &PolicyKey, head: PolicyHead<'a>) -> Self {
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

    pub(super) fn outcome(mut self, totals: &Totals, controller: &str) -> Outcome {
        let objects = self.targets.iter().map(|(object, _)| object);
        let gateways: BTreeSet<&Place> = objects
            .flat_map(|object| totals.gateways_of(object))
            .collect();
        let usable = self.targets.iter().any(|(_, problem)| problem.is_none());
        if gateways.is_empty() && usable {
            let message = "no route of our Gateways leads to its targets, so it has no effect";
            self.report("targetRefs", &codes::POLICY_UNUSED, message);
        }
        if gateways.len() > ANCESTORS_MAX {
            let message = format!(
                "{} Gateways lead to its targets; the status has the first {ANCESTORS_MAX}",
                gateways.len()
            );
            self.report("targetRefs", &codes::POLICY_ANCESTORS, &message);
        }
        let shown = gateways.into_iter().take(ANCESTORS_MAX);
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
