//! XBackends: a host outside of the cluster, or Pods that a selector chooses (GEP-4894).

use tidegate_ir::{BackendProtocol, Destination, Endpoint, Part, PartName, Security};

use crate::api::x_backend::{XBackendSpec, XBackendTls};
use crate::backend_object::Traffic;
use crate::endpoints;
use crate::objects::{Objects, Parsed, Place};
use crate::policy::tls::{self, Validated};
use crate::tls::follow;

/// How the backend is spoken to; `None` if it cannot carry that traffic.
pub(crate) fn protocol(spec: &XBackendSpec, traffic: Traffic) -> Option<BackendProtocol> {
    let grpc = match traffic {
        Traffic::Http => false,
        Traffic::Grpc => true,
        // Whatever the bytes are, they go through as they come.
        Traffic::Tcp => return Some(BackendProtocol::Tcp),
        Traffic::Udp => return None,
    };
    match (spec.protocol.as_deref(), grpc) {
        (Some("HTTP2" | "H2C" | "GRPC"), _) | (None | Some("HTTP"), true) => {
            Some(BackendProtocol::Http2)
        }
        (None | Some("HTTP" | "HTTP11" | "WSS" | "MCP"), false) => Some(BackendProtocol::Http1),
        _ => None,
    }
}

/// Where its addresses come from; `endpoints` names the set of those that a selector chooses.
pub(crate) fn destination(spec: &XBackendSpec, endpoints: PartName) -> Destination {
    match &spec.external_hostname {
        Some(external) => {
            let hostname = external.hostname.to_ascii_lowercase();
            Destination::Dns {
                hostname: hostname.trim_end_matches('.').into(),
                port: spec.port.number,
            }
        }
        None => Destination::Endpoints(endpoints),
    }
}

/// The Pods that the selector chooses.
pub(crate) fn selected(objects: &Objects, backend: &Parsed<XBackendSpec>) -> Vec<Endpoint> {
    let Some(selector) = &backend.spec.endpoint_selector else {
        return vec![];
    };
    let port = backend.spec.port.number;
    endpoints::of_pods(
        objects,
        &Place::of(&backend.key),
        &selector.match_labels,
        port,
    )
}

/// What protects the connections; `None` for a backend without TLS.
pub(crate) fn security(objects: &Objects, backend: &Parsed<XBackendSpec>) -> Option<Validated> {
    let object = backend.spec.tls.as_ref()?;
    if object.mode == "None" {
        return None;
    }
    let key = &backend.key;
    let Some(validation) = &object.validation else {
        let message = "tls.validation: it says nobody to trust; set it".to_owned();
        return Some(Validated::broken(key, ("Invalid", message)));
    };
    let mut validated = tls::of_validation(objects, key, "tls.validation", validation);
    add_client_certificate(objects, backend, object, &mut validated);
    Some(validated)
}

fn add_client_certificate(
    objects: &Objects,
    backend: &Parsed<XBackendSpec>,
    object: &XBackendTls,
    validated: &mut Validated,
) {
    let Some(reference) = &object.client_certificate_ref else {
        return;
    };
    match follow(objects, &backend.key, reference) {
        Ok(used) => {
            let Security::Tls(tls) = &mut validated.security else {
                return;
            };
            let Ok(pair) = used.secret.spec.key_pair() else {
                return;
            };
            let (certificate, key) = pair.parts(&used.part_name);
            let outdated = used.outdated();
            tls.client_certificate = Some(used.part_name);
            let parts = [Part::Certificate(certificate), Part::PrivateKey(key)];
            validated.parts.extend(parts);
            if let Some(message) = outdated {
                let field = "tls.clientCertificateRef".to_owned();
                validated.findings.push((field, message));
            }
        }
        Err((reason, message)) => {
            let field = "tls.clientCertificateRef";
            validated.findings.push((field.to_owned(), message.clone()));
            let message = format!("{field}: {message}");
            validated.refuse(&backend.key, ("Invalid", message.clone()));
            validated.unresolved.get_or_insert((reason, message));
        }
    }
}

/// The Secret that the backend refers to.
pub(crate) fn client_secret(backend: &Parsed<XBackendSpec>) -> Option<Place> {
    let reference = backend.spec.tls.as_ref()?.client_certificate_ref.as_ref()?;
    let namespace = reference.namespace.as_deref();
    let namespace = namespace.unwrap_or(backend.key.namespace());
    Some(Place::new(backend.key.source(), namespace, &reference.name))
}
