//! From JSON to typed objects; what does not fit is refused with the path of the field.

mod straight;

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::backend_policy::BackendPolicySpec;
use crate::api::backend_tls_policy::BackendTlsPolicySpec;
use crate::api::core::{
    ClusterTrustBundle, ConfigMap, EndpointSlice, Namespace, Pod, Secret, Service,
};
use crate::api::gateway::{GatewayClassSpec, GatewayMeta, GatewaySpec};
use crate::api::gateway_parameters::GatewayParametersSpec;
use crate::api::grpc_route::GrpcRouteSpec;
use crate::api::http_route::HttpRouteSpec;
use crate::api::l4_route::{PortRouteSpec, TlsRouteSpec};
use crate::api::listener_set::ListenerSetSpec;
use crate::api::meta::Strict;
use crate::api::reference_grant::ReferenceGrantSpec;
use crate::api::traffic_policy::TrafficPolicySpec;
use crate::api::x_backend::XBackendSpec;
use crate::api::{
    CERTIFICATES_GROUP, EXPERIMENTAL_GROUP, GATEWAY_GROUP, MULTICLUSTER_GROUP, OWN_GROUP,
};
use crate::objects::Known;
use crate::parameters::GatewayParameters;
use crate::rules;
use crate::secret::TlsSecret;
use crate::service::ServicePorts;
use crate::trust::Authorities;
use straight::Straight;

/// A field that breaks the schema or a rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvalidField {
    /// Path, such as `spec.rules[0].matches[1].path.value`; empty for the whole object.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl InvalidField {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Checks an object against the schema and the rules of its kind; a kind that the compiler does not
/// read is fine.
///
/// # Errors
/// Lists the fields that are wrong: one that breaks the schema, or all that break a rule.
pub fn validate(group: &str, kind: &str, content: &[u8]) -> Result<(), Vec<InvalidField>> {
    read(group, kind, content).map(drop)
}

/// An object that was read and found right, ready for [`Compiler::put_checked`](crate::Compiler::put_checked).
pub struct Checked(pub(crate) Option<Known>);

/// The same as [`validate`], for whoever puts the object into a compiler later.
///
/// # Errors
/// As [`validate`].
pub fn check(group: &str, kind: &str, content: &[u8]) -> Result<Checked, Vec<InvalidField>> {
    read(group, kind, content).map(Checked)
}

/// The same for an object that says itself that this is its name, in the usual case that nothing is wrong with it; `None`
/// where a closer look is due.
pub fn check_named(
    group: &str,
    kind: &str,
    (namespace, name): (&str, &str),
    content: &[u8],
) -> Option<Checked> {
    if !crate::is_known(group, kind) {
        return None;
    }
    let (straight, identity) = Straight::new(content)?;
    let says = (&*identity.kind, &*identity.namespace, &*identity.name);
    let is_right =
        says == (kind, namespace, name) && check_identity(group, kind, &identity).is_ok();
    let known = is_right.then(|| known(group, kind, straight))?.ok()?;
    Some(Checked(Some(known)))
}

/// Reads an object of a known kind, `None` for another kind.
fn read(group: &str, kind: &str, content: &[u8]) -> Result<Option<Known>, Vec<InvalidField>> {
    if !crate::is_known(group, kind) {
        return Ok(None);
    }
    if let Some((straight, identity)) = Straight::new(content)
        && check_identity(group, kind, &identity).is_ok()
        && let Ok(known) = known(group, kind, straight)
    {
        return Ok(Some(known));
    }
    let mut json: Value = serde_json::from_slice(content)
        .map_err(|error| vec![InvalidField::new("", format!("it is not JSON: {error}"))])?;
    check_identity(group, kind, &Identity::of(&json)).map_err(|invalid| vec![invalid])?;
    strip_nulls(&mut json);
    known(group, kind, Tree(json)).map(Some)
}

/// JSON that is read into a type once.
trait Input {
    fn typed<T: DeserializeOwned>(self) -> Result<T, Vec<InvalidField>>;
}

/// JSON as a tree of values, without nulls.
struct Tree(Value);

/// What an object says about itself; empty where it does not.
struct Identity<'a> {
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    kind: Cow<'a, str>,
    api_version: Cow<'a, str>,
}

impl<'a> Identity<'a> {
    fn of(json: &'a Value) -> Self {
        let text = |value: &'a Value| value.as_str().unwrap_or_default().into();
        Self {
            namespace: text(&json["metadata"]["namespace"]),
            name: text(&json["metadata"]["name"]),
            kind: text(&json["kind"]),
            api_version: text(&json["apiVersion"]),
        }
    }
}

/// Reads an object of a kind that is known.
fn known(group: &str, kind: &str, json: impl Input) -> Result<Known, Vec<InvalidField>> {
    Ok(match (group, kind) {
        (GATEWAY_GROUP, "GatewayClass") => {
            let object: Strict<GatewayClassSpec> = typed(json)?;
            checked(&object, rules::gateway_class)?;
            Known::GatewayClass(object.spec)
        }
        (GATEWAY_GROUP, "Gateway") => {
            let object: Strict<GatewaySpec, GatewayMeta> = typed(json)?;
            checked(&object, rules::gateway)?;
            Known::Gateway(object.spec.remembering(&object.metadata))
        }
        (GATEWAY_GROUP, "HTTPRoute") => {
            let object: Strict<HttpRouteSpec> = typed(json)?;
            checked(&object, rules::http_route)?;
            Known::HttpRoute(object.spec)
        }
        (GATEWAY_GROUP, "ListenerSet") => {
            let object: Strict<ListenerSetSpec> = typed(json)?;
            checked(&object, rules::listener_set)?;
            Known::ListenerSet(object.spec)
        }
        (GATEWAY_GROUP, "GRPCRoute") => {
            let object: Strict<GrpcRouteSpec> = typed(json)?;
            checked(&object, rules::grpc_route)?;
            Known::GrpcRoute(object.spec)
        }
        (GATEWAY_GROUP, "TLSRoute") => {
            let object: Strict<TlsRouteSpec> = typed(json)?;
            checked(&object, rules::tls_route)?;
            Known::TlsRoute(object.spec)
        }
        (GATEWAY_GROUP, "TCPRoute" | "UDPRoute") => {
            let object: Strict<PortRouteSpec> = typed(json)?;
            checked(&object, rules::port_route)?;
            match kind {
                "TCPRoute" => Known::TcpRoute(object.spec),
                _ => Known::UdpRoute(object.spec),
            }
        }
        (GATEWAY_GROUP, "BackendTLSPolicy") => {
            let object: Strict<BackendTlsPolicySpec> = typed(json)?;
            checked(&object, rules::backend_tls_policy)?;
            Known::BackendTlsPolicy(object.spec)
        }
        (EXPERIMENTAL_GROUP, "XBackend") => {
            let object: Strict<XBackendSpec> = typed(json)?;
            checked(&object, rules::x_backend)?;
            Known::XBackend(object.spec)
        }
        (EXPERIMENTAL_GROUP, _) => {
            let object: Strict<TrafficPolicySpec> = typed(json)?;
            checked(&object, rules::traffic_policy)?;
            Known::TrafficPolicy(object.spec)
        }
        (OWN_GROUP, "GatewayParameters") => {
            let object: Strict<GatewayParametersSpec> = typed(json)?;
            checked(&object, rules::gateway_parameters)?;
            Known::GatewayParameters(GatewayParameters::new(&object.spec))
        }
        (OWN_GROUP, _) => {
            let object: Strict<BackendPolicySpec> = typed(json)?;
            checked(&object, rules::backend_policy)?;
            Known::BackendPolicy(object.spec)
        }
        (MULTICLUSTER_GROUP, _) => Known::ServiceImport(ServicePorts::of_import(typed(json)?)),
        (CERTIFICATES_GROUP, _) => {
            let object = typed::<ClusterTrustBundle>(json)?;
            Known::ClusterTrustBundle(Authorities::of_trust_bundle(&object))
        }
        (GATEWAY_GROUP, _) => {
            let object: Strict<ReferenceGrantSpec> = typed(json)?;
            checked(&object, rules::reference_grant)?;
            Known::ReferenceGrant(object.spec)
        }
        (_, "Namespace") => Known::Namespace(typed::<Namespace>(json)?),
        (_, "Service") => Known::Service(ServicePorts::of_service(typed::<Service>(json)?)),
        (_, "ConfigMap") => {
            Known::ConfigMap(Authorities::of_config_map(&typed::<ConfigMap>(json)?))
        }
        (_, "Pod") => Known::Pod(typed::<Pod>(json)?),
        (_, "EndpointSlice") => Known::EndpointSlice(typed::<EndpointSlice>(json)?),
        _ => Known::Secret(TlsSecret::new(&typed::<Secret>(json)?)),
    })
}

/// Kubernetes drops nulls before it looks at an object; an empty `hostnames:` in YAML is one.
pub(crate) fn strip_nulls(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn check_identity(group: &str, kind: &str, identity: &Identity<'_>) -> Result<(), InvalidField> {
    let Identity {
        name,
        kind: written,
        api_version: version,
        namespace: _,
    } = identity;
    if name.is_empty() {
        return Err(InvalidField::new(
            "metadata.name",
            "the object needs a name",
        ));
    }
    if name.len() > 253 {
        let message = "a name has at most 253 characters";
        return Err(InvalidField::new("metadata.name", message));
    }
    if !written.is_empty() && written != kind {
        let message = format!("it says {written}, but the object is a {kind}");
        return Err(InvalidField::new("kind", message));
    }
    if version.is_empty() {
        return Ok(());
    }
    let served: &[&str] = match (group, kind) {
        (GATEWAY_GROUP, "GatewayClass" | "Gateway" | "HTTPRoute" | "ReferenceGrant") => {
            &["v1", "v1beta1"]
        }
        (EXPERIMENTAL_GROUP | OWN_GROUP, _) => &["v1alpha1"],
        (MULTICLUSTER_GROUP | CERTIFICATES_GROUP, _) => &["v1beta1", "v1alpha1"],
        _ => &["v1"],
    };
    let number = match group {
        "" => Some(&**version),
        group => version
            .strip_prefix(group)
            .and_then(|rest| rest.strip_prefix('/')),
    };
    if number.is_some_and(|number| served.contains(&number)) {
        return Ok(());
    }
    let newest = served[0];
    let newest = match group {
        "" => newest.to_owned(),
        group => format!("{group}/{newest}"),
    };
    let message = format!("{version} is not served for {kind}; use {newest}");
    Err(InvalidField::new("apiVersion", message))
}

fn typed<T: DeserializeOwned>(json: impl Input) -> Result<T, Vec<InvalidField>> {
    json.typed()
}

impl Input for Tree {
    fn typed<T: DeserializeOwned>(self) -> Result<T, Vec<InvalidField>> {
        serde_path_to_error::deserialize(self.0).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            vec![InvalidField::new(
                path,
                plain(&error.into_inner().to_string()),
            )]
        })
    }
}

/// The words of serde without the types of our code.
fn plain(message: &str) -> String {
    let (before, expected) = message.rsplit_once("expected ").unwrap_or((message, ""));
    let expected = match expected {
        "u16" => "a number from 0 to 65535",
        "i64" => "a number",
        "a string" | "a boolean" => expected,
        "a sequence" => "a list",
        struct_or_map if struct_or_map.starts_with("struct ") || struct_or_map == "a map" => {
            "an object"
        }
        _ => return message.to_owned(),
    };
    format!("{before}expected {expected}")
}

fn checked<S, M>(
    object: &Strict<S, M>,
    rules: fn(&S) -> Vec<InvalidField>,
) -> Result<(), Vec<InvalidField>> {
    let invalid = rules(&object.spec);
    if invalid.is_empty() {
        Ok(())
    } else {
        Err(invalid)
    }
}
