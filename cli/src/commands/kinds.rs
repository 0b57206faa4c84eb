//! The names under which users know kinds.

use anyhow::bail;

/// A kind that configd stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) short: &'static str,
    pub(crate) is_namespaced: bool,
}

pub(crate) const GATEWAY: &str = "gateway.networking.k8s.io";

/// The group of Tidegate's own kinds.
pub(crate) const OWN: &str = "tidegate.dev";

const EXPERIMENTS: &str = "gateway.networking.x-k8s.io";

/// Every kind that Tidegate reads.
pub(crate) const KINDS: &[Kind] = &[
    kind(GATEWAY, "GatewayClass", "gatewayclasses", "gc", false),
    kind(GATEWAY, "Gateway", "gateways", "gtw", true),
    kind(GATEWAY, "ListenerSet", "listenersets", "lset", true),
    kind(GATEWAY, "HTTPRoute", "httproutes", "hr", true),
    kind(GATEWAY, "GRPCRoute", "grpcroutes", "gr", true),
    kind(GATEWAY, "TLSRoute", "tlsroutes", "tlsr", true),
    kind(GATEWAY, "TCPRoute", "tcproutes", "tcpr", true),
    kind(GATEWAY, "UDPRoute", "udproutes", "udpr", true),
    kind(
        GATEWAY,
        "ReferenceGrant",
        "referencegrants",
        "refgrant",
        true,
    ),
    kind(
        GATEWAY,
        "BackendTLSPolicy",
        "backendtlspolicies",
        "btlspolicy",
        true,
    ),
    kind(EXPERIMENTS, "XBackend", "xbackends", "xb", true),
    kind(
        EXPERIMENTS,
        "XBackendTrafficPolicy",
        "xbackendtrafficpolicies",
        "xbtrafficpolicy",
        true,
    ),
    kind(OWN, "BackendPolicy", "backendpolicies", "bpolicy", true),
    kind(
        OWN,
        "GatewayParameters",
        "gatewayparameters",
        "gtwparams",
        true,
    ),
    kind(
        "multicluster.x-k8s.io",
        "ServiceImport",
        "serviceimports",
        "svcim",
        true,
    ),
    kind("", "Namespace", "namespaces", "ns", false),
    kind("", "Service", "services", "svc", true),
    kind("", "Secret", "secrets", "", true),
    kind("", "ConfigMap", "configmaps", "cm", true),
    kind("", "Pod", "pods", "po", true),
    kind(
        "certificates.k8s.io",
        "ClusterTrustBundle",
        "clustertrustbundles",
        "ctb",
        false,
    ),
    kind(
        "discovery.k8s.io",
        "EndpointSlice",
        "endpointslices",
        "eps",
        true,
    ),
];

const fn kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    is_namespaced: bool,
) -> Kind {
    Kind {
        group,
        kind,
        plural,
        short,
        is_namespaced,
    }
}

/// The kind of that name: singular, plural or short, in any case.
pub(crate) fn find_kind(name: &str) -> anyhow::Result<&'static Kind> {
    let name = name.to_ascii_lowercase();
    let is_it = |kind: &&Kind| {
        kind.kind.to_ascii_lowercase() == name
            || kind.plural == name
            || (!kind.short.is_empty() && kind.short == name)
    };
    let Some(kind) = KINDS.iter().find(is_it) else {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.plural).collect();
        bail!(
            "there is no kind \"{name}\"; there are {}",
            known.join(", ")
        );
    };
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_name() {
        let names = KINDS.iter().flat_map(|kind| [kind.plural, kind.short]);
        let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn the_compiler_reads_every_kind() {
        for kind in KINDS {
            assert!(
                tidegate_compiler::is_known(kind.group, kind.kind),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_operator_feeds_every_kind() {
        let name = |kind: &Kind| (kind.group, kind.kind);
        let fed: Vec<_> = tidegate_operator::KINDS
            .iter()
            .map(|kind| (kind.group, kind.kind))
            .collect();
        let known: Vec<_> = KINDS.iter().map(name).collect();
        assert!(known.iter().all(|kind| fed.contains(kind)), "{fed:?}");
        assert_eq!(fed.len(), known.len());
    }

    #[test]
    fn kinds_have_three_names() {
        for name in ["HTTPRoute", "httproutes", "hr"] {
            assert_eq!(find_kind(name).expect("known").kind, "HTTPRoute");
        }
        let error = find_kind("ingress").expect_err("not ours").to_string();
        assert!(error.contains("httproutes"), "{error}");
    }
}
