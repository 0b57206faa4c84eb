//! The conformance tests of Gateway API v1.7 that have a case, and those that cannot have one.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};

use crate::features;

/// The tests of the official suite for Gateways, ListenerSets, HTTPRoutes, GRPCRoutes,
/// TLSRoutes, TCPRoutes, UDPRoutes and BackendTLSPolicies, by their short names; each has a case of that name.
const COVERED: [&str; 141] = [
    "GatewayClassObservedGenerationBump",
    "GatewayObservedGenerationBump",
    "GatewayModifyListeners",
    "GatewayNameMaximumLength",
    "GatewayInvalidRouteKind",
    "GatewayListenerUnsupportedProtocol",
    "GatewayInvalidTLSConfiguration",
    "GatewaySecretInvalidReferenceGrant",
    "GatewaySecretMissingReferenceGrant",
    "GatewaySecretReferenceGrantAllInNamespace",
    "GatewaySecretReferenceGrantSpecific",
    "GatewayWithAttachedRoutes",
    "GatewayWithAttachedRoutesWithPort8080",
    "GatewayStaticAddresses",
    "GatewayOptionalAddressValue",
    "GatewayInvalidParametersRef",
    "GatewayHTTPListenerIsolation",
    "GatewayInvalidTLSBackendConfiguration",
    "GatewayTLSBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayFrontendInvalidDefaultClientCertificateValidation",
    "GatewayInvalidFrontendClientCertificateValidation",
    "ListenerSetDefaultNotAllowed",
    "ListenerSetAllowedNamespaceNone",
    "ListenerSetAllowedNamespaceSame",
    "ListenerSetAllowedNamespaceSelector",
    "ListenerSetAllowedRoutesNamespaces",
    "ListenerSetAllowedRoutesSupportedKinds",
    "ListenerSetHTTPRouting",
    "ListenerSetHostnameConflict",
    "ListenerSetProtocolConflict",
    "ListenerSetReferenceGrant",
    "ListenerSetDualParentRefIndependence",
    "ListenerSetGatewayParentSectionNameNotFound",
    "ListenerSetRouteStatusScopedToParentRef",
    "HTTPRouteSimpleSameNamespace",
    "HTTPRouteCrossNamespace",
    "HTTPRouteExactPathMatching",
    "HTTPRouteHeaderMatching",
    "HTTPRouteMatching",
    "HTTPRouteMatchingAcrossRoutes",
    "HTTPRoutePathMatchOrder",
    "HTTPRouteRuleOrder",
    "HTTPRouteHostnameIntersection",
    "HTTPRouteMultipleRoutesAttachmentSameHostnameIntersection",
    "HTTPRouteListenerHostnameMatching",
    "HTTPRouteListenerPortMatching",
    "HTTPRouteHTTPSListener",
    "HTTPRouteHTTPSListenerDetectMisdirectedRequests",
    "HTTPRouteMultipleGateways",
    "HTTPRouteDisallowedKind",
    "HTTPRouteInvalidCrossNamespaceParentRef",
    "HTTPRouteInvalidParentRefNotMatchingSectionName",
    "HTTPRouteInvalidParentRefNotMatchingListenerPort",
    "HTTPRouteInvalidParentRefSectionNameNotMatchingPort",
    "HTTPRouteInvalidBackendRefUnknownKind",
    "HTTPRouteInvalidNonExistentBackendRef",
    "HTTPRouteInvalidCrossNamespaceBackendRef",
    "HTTPRouteInvalidReferenceGrant",
    "HTTPRoutePartiallyInvalidViaInvalidReferenceGrant",
    "HTTPRouteReferenceGrant",
    "HTTPRouteNoBackendRefs",
    "HTTPRouteObservedGenerationBump",
    "HTTPRouteRedirectHostAndStatus",
    "HTTPRouteRequestHeaderModifier",
    "HTTPRouteServiceTypes",
    "HTTPRouteWeight",
    "HTTPRouteMethodMatching",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteResponseHeaderModifier",
    "HTTPRouteBackendRequestHeaderModifier",
    "HTTPRouteRequestHeaderModifierBackendWeights",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteRedirectPath",
    "HTTPRouteRedirectPort",
    "HTTPRouteRedirectScheme",
    "HTTPRouteRedirectPortAndScheme",
    "HTTPRoute303Redirect",
    "HTTPRoute307Redirect",
    "HTTPRoute308Redirect",
    "HTTPRouteRewriteHost",
    "HTTPRouteRewritePath",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteTimeoutRequest",
    "HTTPRouteTimeoutBackendRequest",
    "HTTPRouteRetry",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteRetryWithRequestTimeout",
    "HTTPRouteRetryWithBackendTimeout",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteNamedRule",
    "HTTPRouteCORS",
    "GRPCExactMethodMatching",
    "GRPCRouteHeaderMatching",
    "GRPCRouteListenerHostnameMatching",
    "GRPCRouteMultipleGateways",
    "GRPCRouteMultipleRoutesAttachmentSameHostnameIntersection",
    "GRPCRouteNamedRule",
    "GRPCRouteRequestHeaderModifier",
    "GRPCRouteWeight",
    "BackendTLSPolicy",
    "BackendTLSPolicyConflictResolution",
    "BackendTLSPolicyGRPCRoute",
    "BackendTLSPolicyInvalidCACertificateRef",
    "BackendTLSPolicyInvalidKind",
    "BackendTLSPolicyObservedGenerationBump",
    "BackendTLSPolicySANValidation",
    "BackendTLSPolicyTLSRouteTerminate",
    "TLSRouteSimpleSameNamespace",
    "TLSRouteHostnameIntersection",
    "TLSRouteMultipleRoutesAttachmentSameHostnameIntersection",
    "TLSRouteInvalidBackendRefNonexistent",
    "TLSRouteInvalidBackendRefUnknownKind",
    "TLSRouteInvalidReferenceGrant",
    "TLSRouteInvalidNoMatchingListener",
    "TLSRouteInvalidNoMatchingListenerHostname",
    "TLSRouteListenerPassthroughSupportedKinds",
    "TLSRouteListenerTerminateSupportedKinds",
    "TLSRouteTerminateSimpleSameNamespace",
    "TLSRouteMixedTerminationSameNamespace",
    "TCPRouteInvalidBackendRefNonexistent",
    "TCPRouteInvalidCrossNamespaceBackendRef",
    "TCPRouteInvalidNonTCPListener",
    "TCPRouteMultipleRoutesAttachment",
    "TCPRouteParentRefAttachAll",
    "TCPRouteParentRefPortAndSectionName",
    "TCPRouteReferenceGrant",
    "TCPRouteWeightedRouting",
    "UDPRoute",
    "UDPRouteInvalidBackendRefNonexistent",
    "UDPRouteInvalidCrossNamespaceBackendRef",
    "UDPRouteMultipleRoutesAttachment",
    "UDPRouteNotAllowedByListeners",
    "UDPRouteParentRefAttachAllListeners",
    "UDPRouteParentRefPortAndSectionName",
    "UDPRouteReferenceGrant",
    "UDPRouteWeightedRouting",
];

/// The tests of the same parts that have no case, each with the reason.
const ELSEWHERE: [(&str, &str); 6] = [
    (
        "GatewayPreserveForeignConditions",
        "foreign conditions stand in a cluster's objects, which only the operator writes",
    ),
    (
        "HTTPRoutePreserveForeignStatus",
        "entries of other controllers stand in a cluster's objects, which only the operator writes",
    ),
    (
        "BackendTLSPolicyPreserveForeignStatus",
        "entries of other controllers stand in a cluster's objects, which only the operator writes",
    ),
    (
        "GatewayInfrastructureMetadata",
        "the Kubernetes objects that carry labels and annotations are made by the operator",
    ),
    (
        "TLSRouteListenerTerminateNotSupported",
        "it does nothing where TLSRouteModeTerminate is claimed",
    ),
    (
        "TLSRouteListenerMixedTerminationNotSupported",
        "it does nothing where TLSRouteModeMixed is claimed",
    ),
];

/// The tests of the lists above.
pub(crate) fn trials(cases: BTreeSet<String>) -> Vec<Trial> {
    let shown = cases.clone();
    vec![
        Trial::test("every_conformance_test_has_a_case", move || {
            every_test_has_a_case(&cases)
        }),
        Trial::test("every_feature_that_is_claimed_is_shown", move || {
            features::every_claim_is_shown(&shown)
        }),
    ]
}

fn every_test_has_a_case(cases: &BTreeSet<String>) -> Result<(), Failed> {
    let missing = COVERED.iter().filter(|name| !cases.contains(**name));
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        return Err(format!("add a case for each of {missing:?}").into());
    }
    let excused = ELSEWHERE.iter().filter(|(name, _)| cases.contains(*name));
    let excused: Vec<_> = excused
        .map(|(name, reason)| format!("{name} ({reason})"))
        .collect();
    if !excused.is_empty() {
        return Err(format!("there are cases, so no reasons are needed: {excused:?}").into());
    }
    Ok(())
}
