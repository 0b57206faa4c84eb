//! The objects that the compiler reads, parsed once and found by name.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
pub use tidegate_ir::ObjectKey;
use tidegate_ir::{ObjectName, compare_words};

use crate::api::backend_policy::BackendPolicySpec;
use crate::api::backend_tls_policy::BackendTlsPolicySpec;
use crate::api::core::{EndpointSlice, Namespace, Pod};
use crate::api::gateway::{GatewayClassSpec, GatewaySpec};
use crate::api::grpc_route::GrpcRouteSpec;
use crate::api::http_route::HttpRouteSpec;
use crate::api::l4_route::{PortRouteSpec, TlsRouteSpec};
use crate::api::listener_set::ListenerSetSpec;
use crate::api::reference_grant::ReferenceGrantSpec;
use crate::api::traffic_policy::TrafficPolicySpec;
use crate::api::x_backend::XBackendSpec;
use crate::api::{
    CERTIFICATES_GROUP, EXPERIMENTAL_GROUP, GATEWAY_GROUP, MULTICLUSTER_GROUP, OWN_GROUP,
};
use crate::backend_object::BackendObject;
use crate::endpoints;
use crate::parameters::GatewayParameters;
use crate::policy::PolicyKey;
use crate::secret::TlsSecret;
use crate::service::ServicePorts;
use crate::trust::Authorities;

/// An object as it is stored.
#[derive(Debug, Clone)]
pub struct Object {
    /// Which object.
    pub key: ObjectKey,
    /// The uid that its cluster gave it.
    pub uid: String,
    /// `metadata.generation`; statuses carry it as `observedGeneration`.
    pub generation: i64,
    /// Creation time in seconds since 1970-01-01 UTC; the older of two equal routes wins.
    pub created_at_unix_s: i64,
    /// JSON of the whole object.
    pub content: Bytes,
}

/// Where an object lives: objects refer only to objects of their own source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: Arc<str>,
    pub(crate) object: ObjectName,
}

/// A parsed object together with its metadata.
#[derive(Debug)]
pub(crate) struct Parsed<S> {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) created_at_unix_s: i64,
    pub(crate) spec: S,
}

/// An object of any kind that the compiler reads.
pub(crate) enum Known {
    GatewayClass(GatewayClassSpec),
    Gateway(GatewaySpec),
    ListenerSet(ListenerSetSpec),
    HttpRoute(HttpRouteSpec),
    GrpcRoute(GrpcRouteSpec),
    TlsRoute(TlsRouteSpec),
    TcpRoute(PortRouteSpec),
    UdpRoute(PortRouteSpec),
    BackendTlsPolicy(BackendTlsPolicySpec),
    XBackend(XBackendSpec),
    TrafficPolicy(TrafficPolicySpec),
    BackendPolicy(BackendPolicySpec),
    GatewayParameters(GatewayParameters),
    ServiceImport(ServicePorts),
    ReferenceGrant(ReferenceGrantSpec),
    Namespace(Namespace),
    Service(ServicePorts),
    EndpointSlice(EndpointSlice),
    Secret(TlsSecret),
    ConfigMap(Authorities),
    ClusterTrustBundle(Authorities),
    Pod(Pod),
}

type Table<S> = BTreeMap<Place, Arc<Parsed<S>>>;

/// All objects, by kind and place.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) classes: Table<GatewayClassSpec>,
    pub(crate) gateways: Table<GatewaySpec>,
    pub(crate) listener_sets: Table<ListenerSetSpec>,
    pub(crate) http_routes: Table<HttpRouteSpec>,
    pub(crate) grpc_routes: Table<GrpcRouteSpec>,
    pub(crate) tls_routes: Table<TlsRouteSpec>,
    pub(crate) tcp_routes: Table<PortRouteSpec>,
    pub(crate) udp_routes: Table<PortRouteSpec>,
    pub(crate) backend_tls_policies: Table<BackendTlsPolicySpec>,
    pub(crate) x_backends: Table<XBackendSpec>,
    pub(crate) traffic_policies: Table<TrafficPolicySpec>,
    pub(crate) backend_policies: Table<BackendPolicySpec>,
    pub(crate) parameters: Table<GatewayParameters>,
    pub(crate) service_imports: Table<ServicePorts>,
    pub(crate) grants: Table<ReferenceGrantSpec>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) services: Table<ServicePorts>,
    pub(crate) slices: Table<EndpointSlice>,
    /// The policies on each Service, ServiceImport and XBackend.
    pub(crate) policies_by_target: BTreeMap<BackendObject, BTreeSet<PolicyKey>>,
    /// The slices of each Service and ServiceImport.
    pub(crate) slices_by_owner: BTreeMap<BackendObject, BTreeSet<Place>>,
    pub(crate) secrets: Table<TlsSecret>,
    pub(crate) config_maps: Table<Authorities>,
    pub(crate) trust_bundles: Table<Authorities>,
    pub(crate) pods: Table<Pod>,
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_words([&self.source], [&other.source]).then_with(|| self.object.cmp(&other.object))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Place {
    /// The place of the object with that key.
    pub(crate) fn of(key: &ObjectKey) -> Self {
        Self {
            source: key.source().clone(),
            object: ObjectName::new(key.namespace().clone(), key.name().clone()),
        }
    }

    pub(crate) fn new(source: &Arc<str>, namespace: &str, name: &str) -> Self {
        Self {
            source: source.clone(),
            object: ObjectName::new(namespace, name),
        }
    }

    /// The place of a cluster-wide object.
    pub(crate) fn cluster_wide(source: &Arc<str>, name: &str) -> Self {
        Self::new(source, "", name)
    }
}

impl<S> Parsed<S> {
    fn new(object: &Object, spec: S) -> Arc<Self> {
        Arc::new(Self {
            key: object.key.clone(),
            uid: object.uid.clone(),
            generation: object.generation,
            created_at_unix_s: object.created_at_unix_s,
            spec,
        })
    }

    pub(crate) fn name(&self) -> ObjectName {
        ObjectName::new(self.key.namespace().clone(), self.key.name().clone())
    }
}

impl Parsed<EndpointSlice> {
    /// The objects that the slice belongs to.
    pub(crate) fn owners(&self) -> Vec<BackendObject> {
        endpoints::owners_of(self.key.source(), self.key.namespace(), &self.spec)
    }
}

/// Whether the compiler reads objects of that kind.
pub fn is_known(group: &str, kind: &str) -> bool {
    match group {
        GATEWAY_GROUP => matches!(
            kind,
            "GatewayClass"
                | "Gateway"
                | "ListenerSet"
                | "HTTPRoute"
                | "GRPCRoute"
                | "TLSRoute"
                | "TCPRoute"
                | "UDPRoute"
                | "BackendTLSPolicy"
                | "ReferenceGrant"
        ),
        EXPERIMENTAL_GROUP => matches!(kind, "XBackend" | "XBackendTrafficPolicy"),
        OWN_GROUP => matches!(kind, "BackendPolicy" | "GatewayParameters"),
        MULTICLUSTER_GROUP => kind == "ServiceImport",
        CERTIFICATES_GROUP => kind == "ClusterTrustBundle",
        "" => matches!(
            kind,
            "Namespace" | "Service" | "Secret" | "ConfigMap" | "Pod"
        ),
        "discovery.k8s.io" => kind == "EndpointSlice",
        _ => false,
    }
}

impl Objects {
    /// Adds or replaces an object.
    pub(crate) fn insert(&mut self, object: &Object, known: Known) {
        let place = Place::of(&object.key);
        self.forget_targets(&object.key);
        macro_rules! insert {
            ($table:ident, $spec:expr) => {
                drop(self.$table.insert(place, Parsed::new(object, $spec)))
            };
        }
        match known {
            Known::GatewayClass(spec) => insert!(classes, spec),
            Known::Gateway(spec) => insert!(gateways, spec),
            Known::ListenerSet(spec) => insert!(listener_sets, spec),
            Known::HttpRoute(spec) => insert!(http_routes, spec),
            Known::GrpcRoute(spec) => insert!(grpc_routes, spec),
            Known::TlsRoute(spec) => insert!(tls_routes, spec),
            Known::TcpRoute(spec) => insert!(tcp_routes, spec),
            Known::UdpRoute(spec) => insert!(udp_routes, spec),
            Known::BackendTlsPolicy(spec) => insert!(backend_tls_policies, spec),
            Known::XBackend(spec) => insert!(x_backends, spec),
            Known::TrafficPolicy(spec) => insert!(traffic_policies, spec),
            Known::BackendPolicy(spec) => insert!(backend_policies, spec),
            Known::GatewayParameters(spec) => insert!(parameters, spec),
            Known::ServiceImport(spec) => insert!(service_imports, spec),
            Known::ReferenceGrant(spec) => insert!(grants, spec),
            Known::Namespace(spec) => insert!(namespaces, spec),
            Known::Service(spec) => insert!(services, spec),
            Known::EndpointSlice(spec) => {
                self.forget_slice(&place);
                let key = &object.key;
                for owner in endpoints::owners_of(key.source(), key.namespace(), &spec) {
                    let slices = self.slices_by_owner.entry(owner).or_default();
                    slices.insert(place.clone());
                }
                insert!(slices, spec);
            }
            Known::Secret(spec) => insert!(secrets, spec),
            Known::ConfigMap(spec) => insert!(config_maps, spec),
            Known::ClusterTrustBundle(spec) => insert!(trust_bundles, spec),
            Known::Pod(spec) => insert!(pods, spec),
        }
        for (target, policy) in self.targets_of(&object.key) {
            let policies = self.policies_by_target.entry(target).or_default();
            policies.insert(policy);
        }
    }

    /// Forgets an object; one that is not there is fine.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let place = Place::of(key);
        self.forget_targets(key);
        match (&**key.group(), &**key.kind()) {
            (GATEWAY_GROUP, "GatewayClass") => drop(self.classes.remove(&place)),
            (GATEWAY_GROUP, "Gateway") => drop(self.gateways.remove(&place)),
            (GATEWAY_GROUP, "ListenerSet") => drop(self.listener_sets.remove(&place)),
            (GATEWAY_GROUP, "HTTPRoute") => drop(self.http_routes.remove(&place)),
            (GATEWAY_GROUP, "GRPCRoute") => drop(self.grpc_routes.remove(&place)),
            (GATEWAY_GROUP, "TLSRoute") => drop(self.tls_routes.remove(&place)),
            (GATEWAY_GROUP, "TCPRoute") => drop(self.tcp_routes.remove(&place)),
            (GATEWAY_GROUP, "UDPRoute") => drop(self.udp_routes.remove(&place)),
            (GATEWAY_GROUP, "BackendTLSPolicy") => drop(self.backend_tls_policies.remove(&place)),
            (EXPERIMENTAL_GROUP, "XBackend") => drop(self.x_backends.remove(&place)),
            (EXPERIMENTAL_GROUP, "XBackendTrafficPolicy") => {
                drop(self.traffic_policies.remove(&place));
            }
            (OWN_GROUP, "BackendPolicy") => drop(self.backend_policies.remove(&place)),
            (OWN_GROUP, "GatewayParameters") => drop(self.parameters.remove(&place)),
            (MULTICLUSTER_GROUP, "ServiceImport") => drop(self.service_imports.remove(&place)),
            (CERTIFICATES_GROUP, "ClusterTrustBundle") => drop(self.trust_bundles.remove(&place)),
            (GATEWAY_GROUP, "ReferenceGrant") => drop(self.grants.remove(&place)),
            ("", "Namespace") => drop(self.namespaces.remove(&place)),
            ("", "Service") => drop(self.services.remove(&place)),
            ("", "Secret") => drop(self.secrets.remove(&place)),
            ("", "ConfigMap") => drop(self.config_maps.remove(&place)),
            ("", "Pod") => drop(self.pods.remove(&place)),
            ("discovery.k8s.io", "EndpointSlice") => self.forget_slice(&place),
            _ => {}
        }
    }

    /// What an object is a policy on.
    fn targets_of(&self, key: &ObjectKey) -> Vec<(BackendObject, PolicyKey)> {
        let Some(policy) = PolicyKey::of(key) else {
            return vec![];
        };
        let head = self.policy(&policy);
        let targets = head.iter().flat_map(|head| head.objects());
        targets
            .map(|(_, target)| (target, policy.clone()))
            .collect()
    }

    fn forget_targets(&mut self, key: &ObjectKey) {
        for (target, policy) in self.targets_of(key) {
            take_out(&mut self.policies_by_target, &target, &policy);
        }
    }

    fn forget_slice(&mut self, place: &Place) {
        let Some(slice) = self.slices.remove(place) else {
            return;
        };
        for owner in slice.owners() {
            take_out(&mut self.slices_by_owner, &owner, place);
        }
    }
}

/// Takes one out of a group, and leaves no empty group behind.
fn take_out<G: Ord, T: Ord>(groups: &mut BTreeMap<G, BTreeSet<T>>, group: &G, one: &T) {
    let Some(members) = groups.get_mut(group) else {
        return;
    };
    members.remove(one);
    if members.is_empty() {
        groups.remove(group);
    }
}
