//! What a listener's entry in the status says.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ListenerPlan;
use crate::api::GATEWAY_GROUP;
use crate::status::{Condition, conditions};

/// A condition of ours: clients will refuse what the listener shows.
const CERTIFICATE_NAME_MISMATCH: &str = "tidegate.dev/CertificateNameMismatch";

impl ListenerPlan {
    /// Its entry in the status of its holder; `attached` counts the accepted routes of each listener.
    pub(crate) fn status(
        &self,
        gateway_accepted: bool,
        attached: &BTreeMap<Arc<str>, usize>,
        generation: i64,
    ) -> Value {
        let kinds = self.supported_kinds.iter();
        let kinds = kinds.map(|kind| json!({"group": GATEWAY_GROUP, "kind": kind.object_kind()}));
        json!({
            "name": &*self.view.section_name,
            "supportedKinds": kinds.collect::<Vec<_>>(),
            "attachedRoutes": attached.get(&self.view.part_name).copied().unwrap_or(0),
            "conditions": conditions(&self.conditions(gateway_accepted), generation),
        })
    }

    /// Conditions of the listener; `gateway_accepted` is that of its Gateway.
    fn conditions(&self, gateway_accepted: bool) -> Vec<Condition> {
        let accepted = match &self.refused {
            None => Condition::yes("Accepted", "Accepted", "The listener is accepted"),
            Some(refusal) => Condition::no("Accepted", refusal.reason, &refusal.message),
        };
        let conflicted = match &self.refused {
            Some(refusal) if refusal.conflict => {
                Condition::yes("Conflicted", refusal.reason, &refusal.message)
            }
            _ => Condition::no("Conflicted", "NoConflicts", "The listener has no conflicts"),
        };
        let resolved = match &self.unresolved {
            None => Condition::yes(
                "ResolvedRefs",
                "ResolvedRefs",
                "All references are resolved",
            ),
            Some((reason, message)) => Condition::no("ResolvedRefs", reason, message),
        };
        let overlap = self.overlap.iter();
        let overlap = overlap
            .map(|message| Condition::yes("OverlappingTLSConfig", "OverlappingHostnames", message));
        let mismatch = self.mismatch.iter();
        let mismatch = mismatch
            .map(|message| Condition::yes(CERTIFICATE_NAME_MISMATCH, "NoMatchingName", message));
        let programmed = self.programmed(gateway_accepted);
        [accepted, conflicted, programmed, resolved]
            .into_iter()
            .chain(overlap)
            .chain(mismatch)
            .collect()
    }

    fn programmed(&self, gateway_accepted: bool) -> Condition {
        if let Some(refusal) = &self.refused {
            let reason = if refusal.conflict {
                refusal.reason
            } else {
                "Invalid"
            };
            return Condition::no("Programmed", reason, &refusal.message);
        }
        if !gateway_accepted {
            let message = "The Gateway is not accepted, see its conditions";
            return Condition::no("Programmed", "Invalid", message);
        }
        match &self.unresolved {
            Some((_, message)) if self.unusable => Condition::no("Programmed", "Invalid", message),
            _ => Condition::yes("Programmed", "Programmed", "The listener is programmed"),
        }
    }
}
