//! What may depend on an object that changes.

use tidegate_ir::BackendKind;

use super::Compiler;
use crate::api::CERTIFICATES_GROUP;
use crate::api::meta::LocalObjectReference;
use crate::api::x_backend::XBackendSpec;
use crate::backend_object::BackendObject;
use crate::endpoints;
use crate::objects::{ObjectKey, Parsed, Place};
use crate::policy::outcome::Subject;
use crate::policy::{PolicyKey, PolicyKind};
use crate::route::{Dependency, RouteKind};
use crate::x_backend;

/// Whether what depends on an object is said by the object itself.
pub(super) fn is_by_content(key: &ObjectKey) -> bool {
    PolicyKey::of(key).is_some() || matches!(&**key.kind(), "EndpointSlice" | "Pod")
}

impl Compiler {
    /// Notes what may depend on an object, as it is known at the moment.
    pub(super) fn mark(&mut self, key: &ObjectKey) {
        let place = Place::of(key);
        if let Some(policy) = PolicyKey::of(key) {
            return self.mark_policy(policy);
        }
        let backend = BackendObject::named(key.group(), key.kind(), place.clone());
        if let Some(backend) = backend {
            self.mark_backend(&backend);
            self.changed.insert(Dependency::Backend(backend));
            return;
        }
        if let Some(kind) = RouteKind::named(key.kind()) {
            self.changed_routes.insert((kind, place));
            return;
        }
        match &**key.kind() {
            "Gateway" => drop(self.changed.insert(Dependency::Gateway(place))),
            "ListenerSet" => drop(self.changed.insert(Dependency::ListenerSet(place))),
            "EndpointSlice" => {
                let slice = self.objects.slices.get(&place);
                for owner in slice.map(|slice| slice.owners()).unwrap_or_default() {
                    self.backends.forget(&owner);
                }
            }
            "Namespace" => drop(self.changed.insert(Dependency::Namespace(place))),
            "ReferenceGrant" => {
                let grants = Place::new(&place.source, &place.object.namespace, "");
                self.changed.insert(Dependency::Grants(grants));
                self.mark_x_backends(|backend| {
                    let secret = x_backend::client_secret(backend);
                    secret.is_some_and(|secret| {
                        secret.source == place.source
                            && secret.object.namespace == place.object.namespace
                    })
                });
            }
            "Secret" => {
                self.mark_x_backends(|backend| {
                    x_backend::client_secret(backend).as_ref() == Some(&place)
                });
            }
            "ConfigMap" | "ClusterTrustBundle" => self.mark_authority(key),
            "Pod" => self.mark_pod(&place),
            _ => {}
        }
    }

    /// Notes that the parts of a backend, and the statuses of all that is on it, may change.
    fn mark_backend(&mut self, backend: &BackendObject) {
        self.backends.forget(backend);
        self.outcomes.forget_on(&self.objects, backend);
    }

    /// Marks what a policy is for; whether one asks for TLS decides which protocols a route can use.
    fn mark_policy(&mut self, policy: PolicyKey) {
        let asks_for_tls = policy.kind == PolicyKind::Tls;
        let objects = self.remake(policy).into_iter();
        if asks_for_tls {
            self.changed.extend(objects.map(Dependency::Backend));
        }
    }

    /// Marks what is made of a policy, and returns what it is for.
    fn remake(&mut self, policy: PolicyKey) -> Vec<BackendObject> {
        let head = self.objects.policy(&policy);
        let objects = head.map(|head| head.objects().map(|(_, object)| object).collect());
        let objects: Vec<_> = objects.unwrap_or_default();
        for object in &objects {
            self.mark_backend(object);
        }
        self.outcomes.forget(Subject::Policy(policy));
        objects
    }

    fn mark_x_backends(&mut self, concerned: impl Fn(&Parsed<XBackendSpec>) -> bool) {
        let backends = self.objects.x_backends.values();
        let places = backends.filter(|backend| concerned(backend));
        let places: Vec<_> = places.map(|backend| Place::of(&backend.key)).collect();
        for place in places {
            let kind = BackendKind::XBackend;
            self.mark_backend(&BackendObject { kind, place });
        }
    }

    /// Marks what trusts the authorities in an object.
    fn mark_authority(&mut self, key: &ObjectKey) {
        let is_meant = |references: &[LocalObjectReference]| {
            let mut references = references.iter();
            references.any(|own| {
                (&*own.group, &*own.kind, &*own.name)
                    == (&**key.group(), &**key.kind(), &**key.name())
            })
        };
        let everywhere = **key.group() == *CERTIFICATES_GROUP;
        let is_near = |own: &ObjectKey| {
            own.source() == key.source() && (everywhere || own.namespace() == key.namespace())
        };
        let policies = self.objects.backend_tls_policies.iter();
        let policies = policies.filter(|(_, policy)| {
            is_near(&policy.key) && is_meant(&policy.spec.validation.ca_certificate_refs)
        });
        let policies: Vec<_> = policies.map(|(place, _)| place.clone()).collect();
        for place in policies {
            let kind = PolicyKind::Tls;
            self.remake(PolicyKey { kind, place });
        }
        self.mark_x_backends(|backend| {
            let tls = backend.spec.tls.as_ref();
            let validation = tls.and_then(|tls| tls.validation.as_ref());
            is_near(&backend.key)
                && validation.is_some_and(|validation| is_meant(&validation.ca_certificate_refs))
        });
    }

    fn mark_pod(&mut self, place: &Place) {
        let Some(pod) = self.objects.pods.get(place).cloned() else {
            return;
        };
        let backends = self
            .objects
            .x_backends
            .range(endpoints::in_namespace(place)..);
        let backends = backends.take_while(|(own, _)| {
            own.source == place.source && own.object.namespace == place.object.namespace
        });
        let concerned = backends.filter(|(_, backend)| {
            let selector = backend.spec.endpoint_selector.as_ref();
            selector.is_some_and(|selector| endpoints::selects(&selector.match_labels, &pod.spec))
        });
        let concerned: Vec<_> = concerned.map(|(place, _)| place.clone()).collect();
        for place in concerned {
            let kind = BackendKind::XBackend;
            self.backends.forget(&BackendObject { kind, place });
        }
    }
}
