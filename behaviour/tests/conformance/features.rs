//! What GatewayClasses claim, and the case that shows it: nothing is claimed that no case shows.

use std::collections::BTreeSet;

use libtest_mimic::Failed;
use tidegate_compiler::SUPPORTED_FEATURES;

/// Each feature with a case.
const SHOWN_BY: [(&str, &str); 51] = [
    ("BackendTLSPolicy", "BackendTLSPolicy"),
    (
        "BackendTLSPolicySANValidation",
        "BackendTLSPolicySANValidation",
    ),
    ("ClusterTrustBundle", "ClusterTrustBundleIsAnAuthority"),
    ("GRPCRoute", "GRPCExactMethodMatching"),
    ("GRPCRouteNamedRouteRule", "GRPCRouteNamedRule"),
    (
        "GRPCRouteRequestHeaderModifier",
        "GRPCRouteRequestHeaderModifier",
    ),
    ("Gateway", "GatewayModifyListeners"),
    ("GatewayAddressEmpty", "GatewayOptionalAddressValue"),
    (
        "GatewayBackendClientCertificate",
        "GatewayTLSBackendClientCertificate",
    ),
    (
        "GatewayFrontendClientCertificateValidation",
        "GatewayFrontendClientCertificateValidation",
    ),
    (
        "GatewayFrontendClientCertificateValidationInsecureFallback",
        "GatewayFrontendClientCertificateValidationInsecureFallback",
    ),
    (
        "GatewayHTTPListenerIsolation",
        "GatewayHTTPListenerIsolation",
    ),
    (
        "GatewayHTTPSListenerDetectMisdirectedRequests",
        "HTTPRouteHTTPSListenerDetectMisdirectedRequests",
    ),
    ("GatewayListenerFilters", "ListenerFiltersRunBeforeRouting"),
    ("GatewayPort8080", "GatewayWithAttachedRoutesWithPort8080"),
    (
        "GatewayRouteHostnameIntersectionPrecedence",
        "HTTPRouteMultipleRoutesAttachmentSameHostnameIntersection",
    ),
    ("GatewayStaticAddresses", "GatewayStaticAddresses"),
    ("HTTPRoute", "HTTPRouteSimpleSameNamespace"),
    ("HTTPRoute303RedirectStatusCode", "HTTPRoute303Redirect"),
    ("HTTPRoute307RedirectStatusCode", "HTTPRoute307Redirect"),
    ("HTTPRoute308RedirectStatusCode", "HTTPRoute308Redirect"),
    ("HTTPRouteBackendProtocolH2C", "HTTPRouteBackendProtocolH2C"),
    (
        "HTTPRouteBackendProtocolWebSocket",
        "HTTPRouteBackendProtocolWebSocket",
    ),
    (
        "HTTPRouteBackendRequestHeaderModification",
        "HTTPRouteBackendRequestHeaderModifier",
    ),
    ("HTTPRouteBackendTimeout", "HTTPRouteTimeoutBackendRequest"),
    ("HTTPRouteBackendURLRewrite", "HTTPRouteBackendURLRewrite"),
    ("HTTPRouteCORS", "HTTPRouteCORS"),
    (
        "HTTPRouteDestinationPortMatching",
        "HTTPRouteInvalidParentRefNotMatchingListenerPort",
    ),
    ("HTTPRouteHostRewrite", "HTTPRouteRewriteHost"),
    ("HTTPRouteMethodMatching", "HTTPRouteMethodMatching"),
    ("HTTPRouteNamedRouteRule", "HTTPRouteNamedRule"),
    ("HTTPRouteParentRefPort", "HTTPRouteListenerPortMatching"),
    ("HTTPRoutePathRedirect", "HTTPRouteRedirectPath"),
    ("HTTPRoutePathRewrite", "HTTPRouteRewritePath"),
    ("HTTPRoutePortRedirect", "HTTPRouteRedirectPort"),
    ("HTTPRouteQueryParamMatching", "HTTPRouteQueryParamMatching"),
    ("HTTPRouteRequestMirror", "HTTPRouteRequestMirror"),
    (
        "HTTPRouteRequestMultipleMirrors",
        "HTTPRouteRequestMultipleMirrors",
    ),
    (
        "HTTPRouteRequestPercentageMirror",
        "HTTPRouteRequestPercentageMirror",
    ),
    ("HTTPRouteRequestTimeout", "HTTPRouteTimeoutRequest"),
    (
        "HTTPRouteResponseHeaderModification",
        "HTTPRouteResponseHeaderModifier",
    ),
    ("HTTPRouteRetryCodes", "HTTPRouteRetry"),
    (
        "HTTPRouteRetryConnectionError",
        "HTTPRouteRetryConnectionError",
    ),
    ("HTTPRouteSchemeRedirect", "HTTPRouteRedirectScheme"),
    ("ListenerSet", "ListenerSetHTTPRouting"),
    ("ReferenceGrant", "HTTPRouteReferenceGrant"),
    ("TCPRoute", "TCPRouteParentRefAttachAll"),
    ("TLSRoute", "TLSRouteSimpleSameNamespace"),
    ("TLSRouteModeMixed", "TLSRouteMixedTerminationSameNamespace"),
    (
        "TLSRouteModeTerminate",
        "TLSRouteTerminateSimpleSameNamespace",
    ),
    ("UDPRoute", "UDPRoute"),
];

/// Fails for a feature that no case shows, and for a row without a case or a claim.
pub(crate) fn every_claim_is_shown(cases: &BTreeSet<String>) -> Result<(), Failed> {
    let shown: BTreeSet<_> = SHOWN_BY.iter().map(|(feature, _)| *feature).collect();
    let claimed: BTreeSet<_> = SUPPORTED_FEATURES.iter().copied().collect();
    let differing: Vec<_> = shown.symmetric_difference(&claimed).collect();
    if !differing.is_empty() {
        return Err(format!("claimed without a case, or the reverse: {differing:?}").into());
    }
    let missing = SHOWN_BY.iter().filter(|(_, case)| !cases.contains(*case));
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        return Err(format!("these have no case file: {missing:?}").into());
    }
    Ok(())
}
