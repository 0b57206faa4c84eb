//! What comes out of the compiler, kept up to date by the differences from one compilation to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_ir::{EncodedPart, Part, PartKey, PersistentMap};

use crate::backend_object::BackendPort;
use crate::backends::Backends;
use crate::compile::Compilation;
use crate::diagnostic::Diagnostic;
use crate::gateway::GatewayPlan;
use crate::objects::ObjectKey;
use crate::status::ObjectStatus;
use crate::tls::CertificateUse;
use crate::totals::Totals;

/// The parts of one pool; those of one compilation and the next share what did not change.
pub type Parts = PersistentMap<PartKey, EncodedPart>;

/// What is said about each object, shared in the same way.
pub type AllStatuses = PersistentMap<ObjectKey, ObjectStatus>;

/// What comes out, and who contributed it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pools: BTreeMap<Arc<str>, Arc<Parts>>,
    statuses: Arc<AllStatuses>,
    /// With the number of contributors.
    findings: Arc<BTreeMap<Diagnostic, usize>>,
    /// Contributors of each part that several things may need.
    shares: BTreeMap<(Arc<str>, PartKey), usize>,
    fixed: Fixed,
    placed: BTreeMap<(Arc<str>, BackendPort), Vec<EncodedPart>>,
    remarks: BTreeMap<BackendPort, Vec<Diagnostic>>,
}

/// What is computed anew each time: that of classes, Gateways, ListenerSets and policies.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) statuses: BTreeMap<ObjectKey, ObjectStatus>,
    pub(crate) findings: Vec<Diagnostic>,
    /// Of each pool that there is.
    parts: BTreeMap<Arc<str>, Parts>,
}

impl Fixed {
    pub(crate) fn add_statuses(&mut self, statuses: impl IntoIterator<Item = ObjectStatus>) {
        let keyed = statuses
            .into_iter()
            .map(|status| (status.key.clone(), status));
        self.statuses.extend(keyed);
    }

    /// Adds the parts of a Gateway, in the encoding that is known from `before` if they are unchanged.
    pub(crate) fn add_gateway(&mut self, pool: &Arc<str>, plan: &GatewayPlan, before: &Self) {
        let known = before.parts.get(pool);
        let parts = self.parts.entry(pool.clone()).or_default();
        let mut add = |part: Part| {
            let key = part.key();
            let known = parts.get(&key).or_else(|| known?.get(&key));
            let encoded = match known {
                Some(known) if **known.part() == part => known.clone(),
                _ => EncodedPart::encode(part),
            };
            parts.insert(key, encoded);
        };
        let served = plan.listeners.iter();
        let served = served.filter(|listener| listener.view.served);
        for listener in served {
            let shown = plan.client_certificate.as_ref();
            let shown_name = shown.map(|used| used.part_name.clone());
            let edge = plan.parameters.on_port(listener.view.port);
            add(Part::from(listener.part(
                plan.object.name(),
                shown_name,
                edge,
            )));
            for used in listener.certificates.iter().chain(shown) {
                let Some([certificate, key]) = certificate_parts(used) else {
                    continue;
                };
                add(certificate);
                add(key);
            }
            let asked = listener.asked.as_ref();
            if let Some(trust) = asked.and_then(|asked| asked.trust.as_ref()) {
                add(Part::TrustBundle(trust.clone()));
            }
        }
    }
}

fn certificate_parts(used: &CertificateUse) -> Option<[Part; 2]> {
    let pair = used.secret.spec.key_pair().ok()?;
    let (certificate, key) = pair.parts(&used.part_name);
    Some([Part::Certificate(certificate), Part::PrivateKey(key)])
}

impl Output {
    /// What was fixed in the last compilation.
    pub(crate) fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    /// Puts what is fixed now in the place of what was.
    pub(crate) fn set_fixed(&mut self, fixed: Fixed) {
        let before = std::mem::take(&mut self.fixed);
        for key in before
            .statuses
            .keys()
            .filter(|key| !fixed.statuses.contains_key(*key))
        {
            self.set_status(key, None);
        }
        for (key, status) in &fixed.statuses {
            if before.statuses.get(key) != Some(status) {
                self.set_status(key, Some(status));
            }
        }
        if before.findings != fixed.findings {
            self.retract_findings(&before.findings);
            self.add_findings(&fixed.findings);
        }
        let none = Parts::new();
        let pools: BTreeSet<_> = before.parts.keys().chain(fixed.parts.keys()).collect();
        for pool in pools {
            let old = before.parts.get(pool).unwrap_or(&none);
            let new = fixed.parts.get(pool).unwrap_or(&none);
            let gone = old
                .values()
                .filter(|part| new.get(part.key()) != Some(*part));
            let added = new
                .values()
                .filter(|part| old.get(part.key()) != Some(*part));
            let (gone, added): (Vec<_>, Vec<_>) = (gone.collect(), added.collect());
            self.exchange(pool, &gone, &added);
        }
        self.pools.retain(|pool, _| fixed.parts.contains_key(pool));
        for pool in fixed.parts.keys() {
            self.pools.entry(pool.clone()).or_default();
        }
        self.fixed = fixed;
    }

    pub(crate) fn set_status(&mut self, key: &ObjectKey, status: Option<&ObjectStatus>) {
        let statuses = Arc::make_mut(&mut self.statuses);
        match status {
            Some(status) => drop(statuses.insert(key.clone(), status.clone())),
            None => drop(statuses.remove(key)),
        }
    }

    pub(crate) fn add_findings(&mut self, findings: &[Diagnostic]) {
        if findings.is_empty() {
            return;
        }
        let all = Arc::make_mut(&mut self.findings);
        for finding in findings {
            *all.entry(finding.clone()).or_default() += 1;
        }
    }

    pub(crate) fn retract_findings(&mut self, findings: &[Diagnostic]) {
        if findings.is_empty() {
            return;
        }
        let all = Arc::make_mut(&mut self.findings);
        for finding in findings {
            let count = all
                .get_mut(finding)
                .expect("what is retracted was added before");
            *count -= 1;
            if *count == 0 {
                all.remove(finding);
            }
        }
    }

    /// Sets the part of a route, which nothing else contributes.
    pub(crate) fn set_route(&mut self, pool: &Arc<str>, key: &PartKey, part: Option<&EncodedPart>) {
        let parts = self.pools.entry(pool.clone()).or_default();
        if parts.get(key) == part {
            return;
        }
        let parts = Arc::make_mut(parts);
        match part {
            Some(part) => drop(parts.insert(key.clone(), part.clone())),
            None => drop(parts.remove(key)),
        }
    }

    /// Takes over what has changed about backends, `ports` being those whose parts are new or gone.
    pub(crate) fn refresh_backends(
        &mut self,
        backends: &Backends,
        totals: &mut Totals,
        ports: BTreeSet<BackendPort>,
    ) {
        let mut touched = totals.take_touched_in();
        for port in ports {
            let pools = totals.pools_of(&port);
            touched.extend(pools.map(|pool| (pool.clone(), port.clone())));
            let before = self.remarks.remove(&port).unwrap_or_default();
            let parts = backends.get(&port);
            let now = parts
                .map(|parts| parts.findings.clone())
                .unwrap_or_default();
            self.add_findings(&now);
            self.retract_findings(&before);
            if !now.is_empty() {
                self.remarks.insert(port, now);
            }
        }
        for (pool, port) in touched {
            let used = totals.uses_in(&pool, &port);
            let parts = backends.get(&port).filter(|_| used);
            let now: Vec<_> = parts
                .iter()
                .flat_map(|parts| parts.all().cloned())
                .collect();
            let place = (pool, port);
            let before = self.placed.remove(&place).unwrap_or_default();
            let (old, new) = (
                before.iter().collect::<Vec<_>>(),
                now.iter().collect::<Vec<_>>(),
            );
            self.exchange(&place.0, &old, &new);
            if !now.is_empty() {
                self.placed.insert(place, now);
            }
        }
    }

    /// Replaces contributions to a pool; a part that others contribute, too, stays.
    fn exchange(&mut self, pool: &Arc<str>, gone: &[&EncodedPart], added: &[&EncodedPart]) {
        if gone.is_empty() && added.is_empty() {
            return;
        }
        let parts = Arc::make_mut(self.pools.entry(pool.clone()).or_default());
        for part in added {
            let share = (pool.clone(), part.key().clone());
            *self.shares.entry(share).or_default() += 1;
            parts.insert(part.key().clone(), (*part).clone());
        }
        for part in gone {
            let share = (pool.clone(), part.key().clone());
            let count = self
                .shares
                .get_mut(&share)
                .expect("what goes was added before");
            *count -= 1;
            if *count == 0 {
                self.shares.remove(&share);
                parts.remove(part.key());
            }
        }
    }

    /// All of it, as it is now.
    pub(crate) fn compilation(&self) -> Compilation {
        let pools = self.pools.iter();
        Compilation {
            pools: pools
                .map(|(pool, parts)| (pool.to_string(), parts.clone()))
                .collect(),
            statuses: self.statuses.clone(),
            diagnostics: self.findings.clone(),
        }
    }
}
