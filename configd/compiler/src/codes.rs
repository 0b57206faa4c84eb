//! The codes of all findings, with a sentence each.

use crate::diagnostic::Severity;

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Stable name, such as `TG1001`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it means, and what to do.
    pub explanation: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal $severity:ident $explanation:literal;)*) => {
        $(pub(crate) const $name: Code = Code {
            id: $id,
            severity: Severity::$severity,
            explanation: $explanation,
        };)*

        /// Every code, ordered by its name.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    UNREADABLE = "TG1001" Error "The object does not fit its schema or breaks one of its rules; it is left out until it is corrected.";
    CLASS_NOT_FOUND = "TG1101" Warning "A Gateway names a GatewayClass that does not exist, so nothing serves it; create the class or correct spec.gatewayClassName.";
    CLASS_PARAMETERS = "TG1102" Error "The parametersRef of a GatewayClass does not lead to valid GatewayParameters; a Gateway of the class that was not served before is not until it does.";
    CLASS_FOREIGN = "TG1103" Info "A Gateway's GatewayClass names the controller of another implementation, so Tidegate leaves the Gateway to that one.";
    GATEWAY_PARAMETERS = "TG1201" Error "infrastructure.parametersRef of a Gateway does not lead to valid GatewayParameters of its namespace; the Gateway is not served until it does, unless it was before.";
    ADDRESS_TYPE = "TG1202" Error "A Gateway asks for an address of a type that is not supported; use IPAddress or Hostname.";
    GATEWAY_FIELD = "TG1203" Error "A Gateway uses a field that is not supported yet; the listeners that it concerns are refused.";
    GATEWAY_CLASH = "TG1204" Error "Another source has a Gateway of the same namespace and name in the same pool; the older one is served.";
    CLIENT_CERTIFICATE = "TG1205" Error "tls.backend.clientCertificateRef does not lead to a usable kubernetes.io/tls Secret; backends see no certificate.";
    PARAMETERS_PORT = "TG1206" Warning "GatewayParameters name a port for the PROXY protocol that no listener of the Gateway has.";
    PARAMETERS_UNUSED = "TG1207" Info "No Gateway of ours has these GatewayParameters, so they have no effect yet.";
    GATEWAY_WORKERS = "TG1208" Warning "Gateways that share workers ask for different ones; the workers are as the oldest of them says.";
    LISTENER_PROTOCOL = "TG1301" Error "A listener has a protocol that is not supported; HTTP, HTTPS, TLS, TCP and UDP are.";
    LISTENER_CONFLICT = "TG1302" Error "Two listeners of a Gateway cannot be told apart, or need different protocols on one port; give them different hostnames or ports.";
    LISTENER_ROUTE_KIND = "TG1303" Error "A listener allows a kind of route that its protocol cannot serve; HTTP and HTTPS listeners serve HTTPRoute and GRPCRoute, TLS listeners TLSRoute, TCP listeners TCPRoute and UDP listeners UDPRoute.";
    LISTENER_FIELD = "TG1304" Error "A listener uses a value that is not supported; it is refused.";
    CERTIFICATE_REF = "TG1305" Error "A certificateRef does not lead to a usable kubernetes.io/tls Secret.";
    CERTIFICATE_NOT_PERMITTED = "TG1306" Error "A certificateRef leads into another namespace without a ReferenceGrant there.";
    LISTENER_SELECTOR = "TG1307" Warning "A listener chooses namespaces by a selector but has none, so no route can attach; set namespaces.selector.";
    LISTENER_PORT_MOVED = "TG1308" Info "Another Gateway of the same pool already has the port, so the worker binds another one for this Gateway.";
    LISTENER_HOST_OVERLAP = "TG1309" Info "Two HTTPS listeners on one port have overlapping hostnames; a client that reuses a connection may meet the wrong one.";
    CLIENT_AUTHORITY = "TG1310" Error "A caCertificateRef of a Gateway does not lead to authorities for clients' certificates; on its ports that reference counts for nothing.";
    CERTIFICATE_NAMES = "TG1311" Warning "No certificate of a listener is for its hostname, so clients will refuse the connection; the certificate is shown all the same.";
    CLIENTS_UNVERIFIED = "TG1312" Info "A Gateway verifies the clients of its HTTPS listeners, and Gateway API extends that to no others: whoever connects to its TLS listener is let in.";
    SET_PARENT = "TG1401" Warning "A ListenerSet names a Gateway that does not exist, so nothing serves it; create it or correct spec.parentRef.";
    SET_NOT_ALLOWED = "TG1402" Error "The Gateway's allowedListeners do not allow ListenerSets from that namespace; by default it allows none.";
    SET_PARENT_REFUSED = "TG1403" Error "The Gateway of a ListenerSet is not accepted; see its conditions.";
    PARENT_NOT_FOUND = "TG2101" Warning "A route names a parent that does not exist, so nothing serves it there.";
    PARENT_KIND = "TG2102" Warning "A route names a parent of a kind that is not supported; Gateways and ListenerSets are.";
    NO_MATCHING_PARENT = "TG2103" Error "A route names a section or port that no listener of the Gateway has.";
    NOT_ALLOWED_BY_LISTENERS = "TG2104" Error "No listener of the Gateway allows routes of that kind from that namespace.";
    NO_MATCHING_HOSTNAME = "TG2105" Error "No hostname of the route fits the hostname of a listener of the Gateway.";
    NO_PARENTS = "TG2106" Warning "A route names no parent, so nothing serves it; set spec.parentRefs.";
    ROUTE_CLASH = "TG2107" Error "Another source has a route of the same namespace and name in the same pool; the older one is served.";
    OUTRANKED = "TG2108" Warning "A TCPRoute or UDPRoute shares a listener with an older one of its kind; such a listener serves only the oldest, so this one gets nothing there.";
    UNSUPPORTED_VALUE = "TG2201" Error "A rule uses a value or field that is not supported; its requests get 500.";
    UNSUPPORTED_FILTER = "TG2202" Error "A rule has a filter that is not supported; filters are never skipped, so its requests get 500.";
    INVALID_REGEX = "TG2203" Error "A regular expression does not compile; nothing can match it.";
    SHADOWED_MATCH = "TG2204" Warning "An earlier rule of the same route has an identical match, so this one never gets a request.";
    NO_BACKENDS = "TG2205" Warning "A rule neither forwards nor redirects, so its requests get 500; add backendRefs.";
    ZERO_WEIGHTS = "TG2206" Warning "All backends of a rule have weight 0, so its requests get 500, its connections are reset and its datagrams dropped.";
    DUPLICATE_NAME = "TG2207" Warning "A match lists the same header or query parameter twice; only the first one counts.";
    BACKEND_KIND = "TG2301" Error "A backendRef names a kind that is not supported; use a Service, ServiceImport or XBackend.";
    BACKEND_NOT_FOUND = "TG2302" Error "A backendRef names a Service, or a port of one, that does not exist; its share of requests gets 500, of connections is reset, of datagrams is dropped.";
    BACKEND_NOT_PERMITTED = "TG2303" Error "A backendRef leads into another namespace without a ReferenceGrant there; its share of requests gets 500, of connections is reset, of datagrams is dropped.";
    BACKEND_PROTOCOL = "TG2304" Error "A Service port has a protocol or appProtocol that is not supported for this route.";
    NO_ENDPOINTS = "TG2305" Info "A backend that a route uses has no ready endpoint, so its requests get 503, its connections are reset and its datagrams dropped.";
    ENDPOINT_NAMES = "TG2306" Warning "An EndpointSlice has names instead of addresses; it gets no requests.";
    BACKEND_PLAIN = "TG2307" Warning "An XBackend leads out of the cluster without TLS, so anyone on the way can read and change the requests.";
    POLICY_TARGET = "TG2401" Error "A policy names a target that does not exist, or is of a kind that it cannot be for; it has no effect there.";
    POLICY_CONFLICT = "TG2402" Error "Another policy of the same kind is for the same target and comes first: the older one, then the first by name.";
    POLICY_INVALID = "TG2403" Error "TLS to a backend cannot be set up as it is asked for; where nothing is left to trust, requests get 500 and never go out in plain text.";
    POLICY_OPTION = "TG2404" Warning "A BackendTLSPolicy has an option of another implementation, which has no effect here.";
    POLICY_UNUSED = "TG2405" Info "No route that a Gateway of ours accepts leads to the targets of the policy, so it has no effect yet.";
    POLICY_ANCESTORS = "TG2406" Warning "More Gateways lead to the targets of a policy than its status can hold; it is in force for all of them.";
    POLICY_HASH = "TG2407" Info "A BackendPolicy hashes a header or cookie, which connections of TCPRoutes and TLSRoutes and datagrams of UDPRoutes do not have; for those the address of the client is hashed.";
}

/// The code with that name.
pub fn explain_code(id: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_ordered_and_unique() {
        assert!(CODES.is_sorted_by(|a, b| a.id < b.id));
    }

    #[test]
    fn a_code_is_found_in_any_case() {
        assert_eq!(explain_code("tg1001").map(|code| code.id), Some("TG1001"));
        assert_eq!(explain_code("TG9999"), None);
    }
}
