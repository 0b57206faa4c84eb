//! GatewayClasses and Gateways: whether they are ours, what they serve, and their status.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::GATEWAY_GROUP;
use crate::api::gateway::{GatewayClassSpec, GatewaySpec};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::features::SUPPORTED_FEATURES;
use crate::listener::{self, ListenerPlan, ListenerView};
use crate::objects::{Objects, Parsed, Place};
use crate::status::{Condition, ObjectStatus, conditions};

/// A Gateway of our class, with its listeners settled.
#[derive(Debug, Clone)]
pub(crate) struct GatewayPlan {
    pub(crate) object: Arc<Parsed<GatewaySpec>>,
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    refused: Option<(&'static str, String)>,
}

/// What routes see of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayView {
    pub(crate) listeners: Vec<ListenerView>,
}

/// The status of a class, if it is ours.
pub(crate) fn class_status(
    class: &Parsed<GatewayClassSpec>,
    controller_name: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ObjectStatus> {
    if class.spec.controller_name != controller_name {
        return None;
    }
    let accepted = match &class.spec.parameters_ref {
        None => Condition::yes("Accepted", "Accepted", "The class is accepted"),
        Some(reference) => {
            let message = format!(
                "parametersRef names {}, and no kind of parameters is supported; remove it",
                reference.describe()
            );
            let code = &codes::CLASS_PARAMETERS;
            let field = "spec.parametersRef";
            diagnostics.push(Diagnostic::new(&class.key, field, code, message.clone()));
            Condition::no("Accepted", "InvalidParameters", message)
        }
    };
    let message = "The Gateway API objects are read as of version 1.7";
    let version = Condition::yes("SupportedVersion", "SupportedVersion", message);
    let features = SUPPORTED_FEATURES
        .iter()
        .map(|name| json!({ "name": name }));
    Some(ObjectStatus {
        key: class.key.clone(),
        uid: class.uid.clone(),
        generation: class.generation,
        status: Arc::new(json!({
            "conditions": conditions(&[accepted, version], class.generation),
            "supportedFeatures": features.collect::<Vec<_>>(),
        })),
    })
}

/// The plan of a Gateway, `None` if its class is not ours.
pub(crate) fn plan(
    objects: &Objects,
    object: &Arc<Parsed<GatewaySpec>>,
    controller_name: &str,
) -> Option<GatewayPlan> {
    let class = Place::cluster_wide(&object.key.source, &object.spec.gateway_class_name);
    let class = objects.classes.get(&class)?;
    if class.spec.controller_name != controller_name {
        return None;
    }
    let mut diagnostics = vec![];
    let mut listeners = listener::plan_all(objects, object, &mut diagnostics);
    report_ignored_fields(object, &mut diagnostics);
    let refused = refusal(object, class, &mut diagnostics);
    if refused.is_some() {
        listeners
            .iter_mut()
            .for_each(|listener| listener.view.served = false);
    }
    Some(GatewayPlan {
        object: object.clone(),
        listeners,
        diagnostics,
        refused,
    })
}

fn refusal(
    gateway: &Parsed<GatewaySpec>,
    class: &Parsed<GatewayClassSpec>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(&'static str, String)> {
    let mut refuse = |field: String, code, reason, message: String| {
        diagnostics.push(Diagnostic::new(&gateway.key, field, code, message.clone()));
        Some((reason, message))
    };
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let parameters =
        infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
    if let Some(reference) = parameters {
        let message = format!(
            "infrastructure.parametersRef names {}, and no kind of parameters is supported; remove it",
            reference.describe()
        );
        let field = "spec.infrastructure.parametersRef".to_owned();
        return refuse(
            field,
            &codes::GATEWAY_PARAMETERS,
            "InvalidParameters",
            message,
        );
    }
    if class.spec.parameters_ref.is_some() {
        let message = format!(
            "GatewayClass {} is not accepted: its parametersRef is not supported",
            class.key.name
        );
        let field = "spec.gatewayClassName".to_owned();
        return refuse(
            field,
            &codes::CLASS_PARAMETERS,
            "InvalidParameters",
            message,
        );
    }
    let addresses = gateway.spec.addresses.iter().enumerate();
    let mut unsupported = addresses
        .filter(|(_, address)| !matches!(address.type_.as_str(), "IPAddress" | "Hostname"));
    let (index, address) = unsupported.next()?;
    let message = format!(
        "addresses[{index}] has type {}, which is not supported; use IPAddress or Hostname",
        address.type_
    );
    let field = format!("spec.addresses[{index}].type");
    refuse(field, &codes::ADDRESS_TYPE, "UnsupportedAddress", message)
}

/// Fields without effect are said to be so.
fn report_ignored_fields(gateway: &Parsed<GatewaySpec>, diagnostics: &mut Vec<Diagnostic>) {
    let spec = &gateway.spec;
    let fields = [
        ("spec.allowedListeners", spec.allowed_listeners.is_some()),
        ("spec.defaultScope", spec.default_scope.is_some()),
        ("spec.tls", spec.tls.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        let message = "it is not supported yet; remove it";
        let code = &codes::GATEWAY_FIELD;
        diagnostics.push(Diagnostic::new(&gateway.key, field, code, message));
    }
}

impl crate::api::meta::ParametersReference {
    fn describe(&self) -> String {
        let namespace = self.namespace.as_ref();
        let namespace = namespace
            .map(|namespace| format!("{namespace}/"))
            .unwrap_or_default();
        format!(
            "{} {namespace}{} of group {:?}",
            self.kind, self.name, self.group
        )
    }
}

impl GatewayPlan {
    /// What routes see.
    pub(crate) fn view(&self) -> GatewayView {
        let listeners = self.listeners.iter();
        GatewayView {
            listeners: listeners.map(|listener| listener.view.clone()).collect(),
        }
    }

    /// Takes it out of the snapshot because another Gateway has its name.
    pub(crate) fn refuse_as_clashing(&mut self, other_source: &str) {
        let message = format!(
            "source {other_source} has an older Gateway {} in the same pool; rename one of them",
            self.object.name()
        );
        let code = &codes::GATEWAY_CLASH;
        let diagnostic = Diagnostic::new(&self.object.key, "metadata.name", code, message.clone());
        self.diagnostics.push(diagnostic);
        self.refused = Some(("Invalid", message));
        self.listeners
            .iter_mut()
            .for_each(|listener| listener.view.served = false);
    }

    /// Says that the worker binds another port, because an older Gateway has this one.
    pub(crate) fn note_moved_port(&mut self, port: u16, bind_port: u16) {
        let message = format!(
            "an older Gateway of the pool has port {port}, so the worker binds {bind_port} for this one"
        );
        let code = &codes::LISTENER_PORT_MOVED;
        let diagnostic = Diagnostic::new(&self.object.key, "spec.listeners", code, message);
        self.diagnostics.push(diagnostic);
    }

    fn is_accepted(&self) -> bool {
        self.refused.is_none() && self.listeners.iter().any(ListenerPlan::is_accepted)
    }

    /// Its status; `attached` counts the accepted routes of each listener.
    pub(crate) fn status(&self, attached: &BTreeMap<Arc<str>, usize>) -> ObjectStatus {
        let generation = self.object.generation;
        let listeners = self.listeners.iter().map(|listener| {
            let kinds = listener.supported_kinds.iter();
            let kinds =
                kinds.map(|kind| json!({"group": GATEWAY_GROUP, "kind": kind.object_kind()}));
            let own_conditions = listener.conditions(self.refused.is_none());
            let name = &listener.view.section_name;
            json!({
                "name": &**name,
                "supportedKinds": kinds.collect::<Vec<_>>(),
                "attachedRoutes": attached.get(name).copied().unwrap_or(0),
                "conditions": conditions(&own_conditions, generation),
            })
        });
        let listeners: Vec<Value> = listeners.collect();
        ObjectStatus {
            key: self.object.key.clone(),
            uid: self.object.uid.clone(),
            generation,
            status: Arc::new(json!({
                "conditions": conditions(&self.conditions(), generation),
                "listeners": listeners,
            })),
        }
    }

    fn conditions(&self) -> [Condition; 3] {
        [self.accepted(), self.programmed(), self.resolved()]
    }

    fn accepted(&self) -> Condition {
        if let Some((reason, message)) = &self.refused {
            return Condition::no("Accepted", reason, message);
        }
        let names = self.names_of(|listener| !listener.is_sound());
        if !self.is_accepted() {
            let message = format!("No listener is valid: see the conditions of {names}");
            return Condition::no("Accepted", "ListenersNotValid", message);
        }
        if names.is_empty() {
            return Condition::yes("Accepted", "Accepted", "The Gateway is accepted");
        }
        let message = format!("Some listeners are not valid: see the conditions of {names}");
        Condition::yes("Accepted", "ListenersNotValid", message)
    }

    fn programmed(&self) -> Condition {
        if !self.is_accepted() {
            let message = "The Gateway is not accepted, see that condition";
            return Condition::no("Programmed", "Invalid", message);
        }
        if self.listeners.iter().any(ListenerPlan::is_usable) {
            return Condition::yes("Programmed", "Programmed", "The Gateway is programmed");
        }
        let message = "No listener is programmed, see their conditions";
        Condition::no("Programmed", "Invalid", message)
    }

    fn resolved(&self) -> Condition {
        let backend_tls = self
            .object
            .spec
            .tls
            .as_ref()
            .and_then(|tls| tls.backend.as_ref());
        if backend_tls.is_some() {
            let message = "tls.backend is not supported yet; remove it";
            return Condition::no("ResolvedRefs", "InvalidClientCertificateRef", message);
        }
        let names = self.names_of(|listener| !listener.is_resolved());
        if names.is_empty() {
            let message = "All references are resolved";
            Condition::yes("ResolvedRefs", "ResolvedRefs", message)
        } else {
            let message = format!("References are not resolved: see the conditions of {names}");
            Condition::no("ResolvedRefs", "ListenersNotResolved", message)
        }
    }

    fn names_of(&self, which: impl Fn(&ListenerPlan) -> bool) -> String {
        let listeners = self.listeners.iter().filter(|listener| which(listener));
        let names: Vec<_> = listeners
            .map(|listener| &*listener.view.section_name)
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("listener {}", names.join(", "))
        }
    }
}
