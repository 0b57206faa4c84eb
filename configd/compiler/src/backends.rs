//! The parts for ports of Services, kept until the Service or its endpoints change.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_ir::{EncodedPart, Part};

use crate::assembly::Totals;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::{Objects, Place};
use crate::service::BackendPort;

/// The parts for all ports that routes use.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    parts: BTreeMap<BackendPort, BackendParts>,
    /// Ports whose parts were forgotten.
    stale: BTreeSet<BackendPort>,
}

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
            grpc: false,
        };
        let ports = self.parts.range(from..).map(|(port, _)| port);
        let ports: Vec<_> = ports
            .take_while(|port| port.service == *service)
            .cloned()
            .collect();
        for port in ports {
            self.parts.remove(&port);
            self.stale.insert(port);
        }
    }

    /// Makes the parts that are used and missing, and drops those that are no longer used.
    pub(crate) fn refresh(&mut self, objects: &Objects, totals: &mut Totals) {
        let mut ports = totals.take_touched();
        ports.append(&mut self.stale);
        for port in ports {
            let parts = totals
                .uses(&port)
                .then(|| BackendParts::new(&port, objects));
            match parts.flatten() {
                Some(parts) => drop(self.parts.insert(port, parts)),
                None => drop(self.parts.remove(&port)),
            }
        }
    }

    pub(crate) fn get(&self, port: &BackendPort) -> Option<&BackendParts> {
        self.parts.get(port)
    }

    /// What is wrong with the endpoints of all ports.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.parts
            .values()
            .filter_map(|parts| parts.finding.as_ref())
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
