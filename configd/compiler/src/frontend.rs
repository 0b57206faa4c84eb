//! What a Gateway asks of clients' certificates, port by port (GEP-91).

use std::collections::BTreeMap;

use tidegate_ir::{ClientValidation, TrustBundle};

use crate::api::gateway::{FrontendTlsConfig, FrontendValidation, GatewaySpec};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::{Objects, Parsed};
use crate::trust;

/// What is asked on each port; all listeners of a port ask the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frontend {
    default: Option<Asked>,
    /// Ports with a word of their own, `None` for those that ask nothing.
    per_port: BTreeMap<u16, Option<Asked>>,
}

/// What is asked of clients.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `None` if no reference leads to an authority.
    pub(crate) trust: Option<TrustBundle>,
    pub(crate) insecure_fallback: bool,
    /// Reason and message of `ResolvedRefs`.
    pub(crate) problem: Option<(&'static str, String)>,
}

impl Frontend {
    /// Follows the references of a Gateway.
    pub(crate) fn new(
        objects: &Objects,
        gateway: &Parsed<GatewaySpec>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let tls = gateway.spec.tls.as_ref();
        let Some(frontend) = tls.and_then(|tls| tls.frontend.as_ref()) else {
            return Self::default();
        };
        let mut asked = |config: &FrontendTlsConfig, section: String, field: String| {
            let validation = config.validation.as_ref()?;
            let field = format!("{field}.validation");
            Some(Asked::new(
                objects,
                gateway,
                validation,
                &section,
                &field,
                diagnostics,
            ))
        };
        let field = "spec.tls.frontend";
        let default = asked(
            &frontend.default,
            "frontend".to_owned(),
            format!("{field}.default"),
        );
        let per_port = frontend.per_port.iter().enumerate().map(|(index, own)| {
            let field = format!("{field}.perPort[{index}].tls");
            (
                own.port,
                asked(&own.tls, format!("frontend/{}", own.port), field),
            )
        });
        Self {
            per_port: per_port.collect(),
            default,
        }
    }

    /// What listeners on a port ask.
    pub(crate) fn on_port(&self, port: u16) -> Option<&Asked> {
        match self.per_port.get(&port) {
            Some(own) => own.as_ref(),
            None => self.default.as_ref(),
        }
    }

    /// Whether clients are let in somewhere whatever they show.
    pub(crate) fn is_insecure(&self) -> bool {
        let all = self.per_port.values().flatten().chain(&self.default);
        all.into_iter().any(|asked| asked.insecure_fallback)
    }
}

impl Asked {
    fn new(
        objects: &Objects,
        gateway: &Parsed<GatewaySpec>,
        validation: &FrontendValidation,
        section: &str,
        field: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let trusted = trust::resolve(objects, &gateway.key, &validation.ca_certificate_refs);
        for invalid in &trusted.invalid {
            let field = format!("{field}.caCertificateRefs[{}]", invalid.index);
            let code = &codes::CLIENT_AUTHORITY;
            diagnostics.push(Diagnostic::new(&gateway.key, field, code, &invalid.message));
        }
        let problem = trusted.worst().map(|worst| {
            let field = format!("{field}.caCertificateRefs[{}]", worst.index);
            (
                worst.fault.listener_reason(),
                format!("{field}: {}", worst.message),
            )
        });
        Self {
            trust: trusted.bundle(trust::bundle_name(&gateway.key, Some(section))),
            insecure_fallback: validation.mode == "AllowInsecureFallback",
            problem,
        }
    }

    /// What the worker gets; `None` if nobody could be let in.
    pub(crate) fn validation(&self) -> Option<ClientValidation> {
        let trust = self.trust.as_ref()?;
        Some(ClientValidation {
            trust: trust.name.clone(),
            insecure_fallback: self.insecure_fallback,
        })
    }
}
