//! What can be wrong with certificates that are shown all the same.

use std::sync::Arc;

use tidegate_ir::Hostname;

use super::ListenerPlan;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::status::ShownCertificate;

impl ListenerPlan {
    /// What it shows to clients, with the times of validity.
    pub(crate) fn shown(&self) -> impl Iterator<Item = ShownCertificate> {
        let used = self.certificates.iter().filter(|_| self.view.served);
        used.filter_map(|used| {
            let pair = used.secret.spec.key_pair().ok()?;
            let (not_before_unix_s, not_after_unix_s) = pair.validity_unix_s();
            Some(ShownCertificate {
                section_name: self.view.section_name.clone(),
                secret: used.secret.name().to_string().into(),
                not_before_unix_s,
                not_after_unix_s,
            })
        })
    }
}

/// Listeners whose certificates are for other names say so; clients will refuse them.
pub(crate) fn note_mismatches(plans: &mut [ListenerPlan], diagnostics: &mut Vec<Diagnostic>) {
    for plan in plans.iter_mut().filter(|plan| plan.view.served) {
        let pairs = plan.certificates.iter();
        let pairs = pairs.filter_map(|used| used.secret.spec.key_pair().ok());
        let names: Vec<&Hostname> = pairs.flat_map(|pair| pair.dns_names()).collect();
        let is_covered = |hostname| names.iter().any(|name| covers(name, hostname));
        if plan.certificates.is_empty() || is_covered(&plan.view.hostname) {
            continue;
        }
        let message = format!(
            "no certificate is for hostname {}: {}",
            plan.view.hostname,
            listed(&names)
        );
        let field = format!("{}.tls.certificateRefs", plan.field);
        let code = &codes::CERTIFICATE_NAMES;
        diagnostics.push(Diagnostic::new(&plan.key, field, code, message.clone()));
        plan.mismatch = Some(message);
    }
}

/// Whether clients take a certificate for that name for the host (RFC 9525, section 6.3): an asterisk stands
/// for one label. A listener without a hostname is for whatever its certificates are for.
fn covers(name: &Hostname, hostname: &Hostname) -> bool {
    match (name, hostname) {
        (_, Hostname::Any) | (Hostname::Any, _) => true,
        (Hostname::Exact(name), Hostname::Exact(host)) => name == host,
        (Hostname::Wildcard(name), Hostname::Wildcard(host)) => name == host,
        (Hostname::Wildcard(suffix), Hostname::Exact(host)) => {
            let label = host.strip_suffix(&**suffix);
            label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        }
        (Hostname::Exact(_), Hostname::Wildcard(_)) => false,
    }
}

fn listed(names: &[&Hostname]) -> Arc<str> {
    const SHOWN_MAX: usize = 8;
    if names.is_empty() {
        return "they have no DNS names".into();
    }
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN_MAX)
        .map(ToString::to_string)
        .collect();
    let more = if names.len() > SHOWN_MAX { ", ..." } else { "" };
    format!("they are for {}{more}", shown.join(", ")).into()
}
