//! Gateways: whether they are ours, and what they serve.

mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::ObjectName;

use crate::address::{self, Addresses};
use crate::api::gateway::{GatewayClassSpec, GatewaySpec};
use crate::api::listener_set::ListenerSetSpec;
use crate::codes::{self, Code};
use crate::compile::{Pooling, Settings};
use crate::diagnostic::Diagnostic;
use crate::frontend::Frontend;
use crate::listener::{self, Held, Holder, ListenerPlan, ListenerView, certificates, conflict};
use crate::listener_set::{self, ListenerSetPlan};
use crate::objects::{Objects, Parsed, Place};
use crate::parameters::{self, Parameters};
use crate::tls::{self, CertificateUse};

/// A Gateway of our class, with its listeners settled.
#[derive(Debug, Clone)]
pub(crate) struct GatewayPlan {
    pub(crate) object: Arc<Parsed<GatewaySpec>>,
    /// The pool of workers that serves it.
    pub(crate) pool: Arc<str>,
    /// Whether others may be served by the same workers, which it did not choose by itself.
    pub(crate) is_shared: bool,
    /// Its own first, then those of its ListenerSets, in their order.
    pub(crate) listeners: Vec<ListenerPlan>,
    sets: Vec<ListenerSetPlan>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What it shows to backends.
    pub(crate) client_certificate: Option<CertificateUse>,
    client_certificate_problem: Option<(&'static str, String)>,
    frontend: Frontend,
    /// How its clients are met.
    pub(crate) parameters: Parameters,
    addresses: Addresses,
    refused: Option<(&'static str, String)>,
    /// Why its parameters are those that it had before.
    outdated: Option<String>,
    /// Why its workers are not as it asks.
    overruled: Option<String>,
}

/// What routes see of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayView {
    pub(crate) pool: Arc<str>,
    pub(crate) listeners: Vec<ListenerView>,
    /// Its ListenerSets, with a message for those that are refused.
    pub(crate) sets: BTreeMap<Place, Option<String>>,
}

/// The plan of a Gateway with its ListenerSets, `None` if its class is not ours.
pub(crate) fn plan(
    objects: &Objects,
    object: &Arc<Parsed<GatewaySpec>>,
    sets: &[Arc<Parsed<ListenerSetSpec>>],
    settings: &Settings,
) -> Option<GatewayPlan> {
    let class = Place::cluster_wide(object.key.source(), &object.spec.gateway_class_name);
    let class = objects.classes.get(&class)?;
    if class.spec.controller_name != settings.controller_name {
        return None;
    }
    let mut diagnostics = vec![];
    report_ignored_fields(object, &mut diagnostics);
    let frontend = Frontend::new(objects, object, &mut diagnostics);
    let (client_certificate, client_certificate_problem) =
        match client_certificate(objects, object, &mut diagnostics) {
            None => (None, None),
            Some(Ok(certificate)) => {
                let reason = "InvalidClientCertificateRef";
                let problem = certificate.outdated().map(|message| (reason, message));
                (Some(certificate), problem)
            }
            Some(Err(problem)) => (None, Some(problem)),
        };
    let (parameters, outdated, refused) = match parameters(objects, object, class) {
        (Some(parameters), None) => (parameters, None, None),
        (parameters, problem) => {
            let message = problem.map(|problem| problem.told(object, &mut diagnostics));
            match parameters {
                Some(parameters) => (parameters, message, None),
                None => {
                    let refused = message.map(|message| ("InvalidParameters", message));
                    (Parameters::default(), None, refused)
                }
            }
        }
    };
    let is_shared = settings.pooling == Pooling::PerGateway && parameters.is_shared();
    let class = &object.spec.gateway_class_name;
    let pool = settings.pooling.pool_of(&object.name(), class, is_shared);
    let mut plan = GatewayPlan {
        object: object.clone(),
        pool,
        is_shared,
        listeners: vec![],
        sets: vec![],
        client_certificate,
        client_certificate_problem,
        frontend,
        addresses: address::settle(&object.spec.addresses, &settings.addresses),
        refused: refused.or_else(|| unsupported_address(object, &mut diagnostics)),
        parameters,
        diagnostics,
        outdated,
        overruled: None,
    };
    plan.plan_listeners(objects, sets);
    plan.report_proxy_ports();
    Some(plan)
}

/// The certificate that backends see (GEP-3155); a broken reference leaves everything else alone.
fn client_certificate(
    objects: &Objects,
    gateway: &Parsed<GatewaySpec>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Result<CertificateUse, (&'static str, String)>> {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    let reference = backend.client_certificate_ref.as_ref()?;
    let field = "spec.tls.backend.clientCertificateRef";
    Some(
        tls::follow(objects, &gateway.key, reference).map_err(|(reason, message)| {
            let code = &codes::CLIENT_CERTIFICATE;
            diagnostics.push(Diagnostic::new(&gateway.key, field, code, message.clone()));
            let reason = match reason {
                "RefNotPermitted" => reason,
                _ => "InvalidClientCertificateRef",
            };
            (reason, format!("{field}: {message}"))
        }),
    )
}

/// What is wrong with a reference to parameters.
struct Problem {
    field: &'static str,
    code: &'static Code,
    message: String,
}

impl Problem {
    /// Its message, which is a finding about the Gateway.
    fn told(self, gateway: &Parsed<GatewaySpec>, diagnostics: &mut Vec<Diagnostic>) -> String {
        let message = self.message.clone();
        diagnostics.push(Diagnostic::new(
            &gateway.key,
            self.field,
            self.code,
            self.message,
        ));
        message
    }
}

/// The parameters of a Gateway and its class, and what is wrong with them, if something is: then they are those by which
/// it was served last, or none.
fn parameters(
    objects: &Objects,
    gateway: &Parsed<GatewaySpec>,
    class: &Parsed<GatewayClassSpec>,
) -> (Option<Parameters>, Option<Problem>) {
    let own = parameters::of_gateway(objects, gateway).map_err(|problem| Problem {
        field: "spec.infrastructure.parametersRef",
        code: &codes::GATEWAY_PARAMETERS,
        message: format!("infrastructure.parametersRef: {problem}"),
    });
    let of_class = parameters::of_class(objects, class).map_err(|problem| {
        let name = class.key.name();
        Problem {
            field: "spec.gatewayClassName",
            code: &codes::CLASS_PARAMETERS,
            message: format!("GatewayClass {name} is not accepted: parametersRef: {problem}"),
        }
    });
    match (own, of_class) {
        (Ok(own), Ok(of_class)) => (Some(Parameters { own, of_class }), None),
        (Ok(own), Err(problem)) => (Parameters::or_last(Some(own), None, gateway), Some(problem)),
        (Err(problem), of_class) => (
            Parameters::or_last(None, of_class.ok(), gateway),
            Some(problem),
        ),
    }
}

fn unsupported_address(
    gateway: &Parsed<GatewaySpec>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(&'static str, String)> {
    let addresses = gateway.spec.addresses.iter().enumerate();
    let mut unsupported = addresses
        .filter(|(_, address)| !matches!(address.type_.as_str(), "IPAddress" | "Hostname"));
    let (index, address) = unsupported.next()?;
    let message = format!(
        "addresses[{index}] has type {}, which is not supported; use IPAddress or Hostname",
        address.type_
    );
    let field = format!("spec.addresses[{index}].type");
    let code = &codes::ADDRESS_TYPE;
    diagnostics.push(Diagnostic::new(&gateway.key, field, code, message.clone()));
    Some(("UnsupportedAddress", message))
}

/// Fields without effect are said to be so.
fn report_ignored_fields(gateway: &Parsed<GatewaySpec>, diagnostics: &mut Vec<Diagnostic>) {
    let spec = &gateway.spec;
    let fields = [("spec.defaultScope", spec.default_scope.is_some())];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        let message = "it is not supported yet; remove it";
        let code = &codes::GATEWAY_FIELD;
        diagnostics.push(Diagnostic::new(&gateway.key, field, code, message));
    }
}

impl GatewayPlan {
    fn plan_listeners(&mut self, objects: &Objects, sets: &[Arc<Parsed<ListenerSetSpec>>]) {
        let gateway = self.object.clone();
        let mut held = Held {
            objects,
            gateway: &gateway,
            frontend: &self.frontend,
            holder: Holder::Gateway,
            key: &gateway.key,
            listeners: &gateway.spec.listeners,
        };
        let mut listeners = listener::plan_all(&held, &mut self.diagnostics);
        let own = listeners.len();
        for set in sets {
            let plan = listener_set::plan(objects, &gateway, set.clone(), &mut self.diagnostics);
            if plan.refused.is_none() {
                held.holder = Holder::ListenerSet(set.name());
                held.key = &set.key;
                held.listeners = &set.spec.listeners;
                listeners.extend(listener::plan_all(&held, &mut self.diagnostics));
            }
            self.sets.push(plan);
        }
        conflict::refuse_conflicts(&mut listeners, own, &mut self.diagnostics);
        conflict::note_overlaps(&mut listeners, &mut self.diagnostics);
        certificates::note_mismatches(&mut listeners, &mut self.diagnostics);
        self.listeners = listeners;
        if !self.is_accepted() {
            self.serve_nothing();
        }
    }

    /// Says which ports its parameters name that it does not have.
    fn report_proxy_ports(&mut self) {
        let listeners = self.listeners.iter();
        let ports: BTreeSet<u16> = listeners.map(|listener| listener.view.port).collect();
        for port in self.parameters.proxy_ports() {
            if ports.contains(&port) {
                continue;
            }
            let message = format!(
                "its GatewayParameters speak of the PROXY protocol on port {port}, which no listener has"
            );
            let field = "spec.infrastructure.parametersRef";
            let code = &codes::PARAMETERS_PORT;
            let finding = Diagnostic::new(&self.object.key, field, code, message);
            self.diagnostics.push(finding);
        }
    }

    /// What routes see.
    pub(crate) fn view(&self) -> GatewayView {
        let listeners = self.listeners.iter();
        let source = self.object.key.source();
        let sets = self.sets.iter().map(|set| {
            let object = set.name();
            let place = Place {
                source: source.clone(),
                object,
            };
            (
                place,
                set.refused.as_ref().map(|(_, message)| message.clone()),
            )
        });
        GatewayView {
            pool: self.pool.clone(),
            listeners: listeners.map(|listener| listener.view.clone()).collect(),
            sets: sets.collect(),
        }
    }

    fn serve_nothing(&mut self) {
        for listener in &mut self.listeners {
            listener.view.served = false;
        }
        let taken = self.sets.iter_mut().filter(|set| set.refused.is_none());
        for set in taken {
            set.refuse_with_gateway(&mut self.diagnostics);
        }
    }

    fn own_listeners(&self) -> impl Iterator<Item = &ListenerPlan> {
        let listeners = self.listeners.iter();
        listeners.filter(|listener| listener.view.holder == Holder::Gateway)
    }

    fn listeners_by_set(&self) -> BTreeMap<&ObjectName, Vec<&ListenerPlan>> {
        let mut by_set: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for listener in &self.listeners {
            if let Holder::ListenerSet(set) = &listener.view.holder {
                by_set.entry(set).or_default().push(listener);
            }
        }
        by_set
    }

    /// Takes it out of the snapshot because another Gateway has its name.
    pub(crate) fn refuse_as_clashing(&mut self, other_source: &str) {
        let name = self.object.name();
        let message = match self.is_shared {
            true => format!(
                "workers of pool {} serve an older Gateway of source {other_source}; say sharing: PerGateway in the \
                 GatewayParameters of Gateway {name}, or give its class another name",
                self.pool
            ),
            false => format!(
                "source {other_source} has an older Gateway {name} in the same pool; rename one of them"
            ),
        };
        let code = &codes::GATEWAY_CLASH;
        let diagnostic = Diagnostic::new(&self.object.key, "metadata.name", code, message.clone());
        self.diagnostics.push(diagnostic);
        self.refused = Some(("Invalid", message));
        self.serve_nothing();
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

    /// Says that the workers which it shares are as an older Gateway asks for.
    pub(crate) fn note_overruled(&mut self, older: &ObjectName) {
        let message = format!(
            "Gateway {older} is older, shares its workers, and asks for other ones, so these are as that says: let both have the same \
             spec.workers in their GatewayParameters, or say sharing: PerGateway in one of them"
        );
        let code = &codes::GATEWAY_WORKERS;
        let field = "spec.infrastructure.parametersRef";
        let finding = Diagnostic::new(&self.object.key, field, code, message.clone());
        self.diagnostics.push(finding);
        self.overruled = Some(message);
    }

    /// Whether it is served.
    pub(crate) fn is_accepted(&self) -> bool {
        self.refused.is_none() && self.own_listeners().any(ListenerPlan::is_accepted)
    }
}
