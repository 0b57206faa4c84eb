//! The parts for ports of Services, kept until the Service or its endpoints change.

use std::collections::BTreeMap;

use tidegate_ir::{EncodedPart, Part};

use crate::assembly::Totals;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::{Objects, Place};
use crate::service::BackendPort;

/// The parts for all ports that routes use.
#[derive(Debug, Default)]
pub(crate) struct Backends(BTreeMap<BackendPort, BackendParts>);

/// The parts for one port.
#[derive(Debug)]
pub(crate) struct BackendParts {
    pub(crate) backend: EncodedPart,
    pub(crate) endpoints: EncodedPart,
    /// What is wrong with the endpoints.
    pub(crate) finding: Option<Diagnostic>,
}

impl Backends {
    /// Forgets what was made of a Service.
    pub(crate) fn forget(&mut self, service: &Place) {
        let from = BackendPort {
            service: service.clone(),
            port: 0,
        };
        let ports = self.0.range(from..).map(|(port, _)| port);
        let ports: Vec<_> = ports
            .take_while(|port| port.service == *service)
            .cloned()
            .collect();
        for port in ports {
            self.0.remove(&port);
        }
    }

    /// Makes the parts that are used and missing, and drops those that are no longer used.
    pub(crate) fn refresh(&mut self, objects: &Objects, totals: &Totals) {
        self.0.retain(|port, _| totals.uses(port));
        for port in totals.backends() {
            if self.0.contains_key(port) {
                continue;
            }
            if let Some(parts) = BackendParts::new(port, objects) {
                self.0.insert(port.clone(), parts);
            }
        }
    }

    pub(crate) fn get(&self, port: &BackendPort) -> Option<&BackendParts> {
        self.0.get(port)
    }

    /// What is wrong with the endpoints of all ports.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.values().filter_map(|parts| parts.finding.as_ref())
    }
}

impl BackendParts {
    fn new(port: &BackendPort, objects: &Objects) -> Option<Self> {
        let (backend, endpoints) = port.parts(objects)?;
        let service = objects.services.get(&port.service)?;
        let finding = endpoints.endpoints.is_empty().then(|| {
            let message = format!(
                "port {} has no ready endpoint, so its requests get 503; start a pod that the Service selects, or add an EndpointSlice",
                port.port
            );
            Diagnostic::new(&service.key, "spec.ports", &codes::NO_ENDPOINTS, message)
        });
        Some(Self {
            backend: EncodedPart::encode(Part::Backend(backend)),
            endpoints: EncodedPart::encode(Part::EndpointSet(endpoints)),
            finding,
        })
    }
}
