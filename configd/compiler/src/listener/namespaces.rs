//! From which namespaces routes and ListenerSets may attach.

use std::collections::BTreeMap;

use crate::api::meta::LabelSelector;

/// Namespaces from which routes or ListenerSets may attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedNamespaces {
    All,
    Same,
    Selector(LabelSelector),
    None,
}

impl AllowedNamespaces {
    /// Reads what an object says; a selector that is missing is left to the caller.
    pub(crate) fn read(
        from: Option<&str>,
        selector: Option<&LabelSelector>,
        default: Self,
    ) -> Self {
        match (from, selector) {
            (None, _) => default,
            (Some("All"), _) => Self::All,
            (Some("Same"), _) => Self::Same,
            (Some("Selector"), Some(selector)) => Self::Selector(selector.clone()),
            (Some(_), _) => Self::None,
        }
    }

    pub(crate) fn allow(
        &self,
        gateway_namespace: &str,
        route_namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        match self {
            Self::All => true,
            Self::Same => gateway_namespace == route_namespace,
            Self::Selector(selector) => selector.matches(labels),
            Self::None => false,
        }
    }
}
