//! Routes of all kinds seen alike, so that one compiler serves them.

use tidegate_ir::{L4RouteKind, Match, RouteKind as L7RouteKind};

use super::{Findings, RouteKind, matcher};
use crate::api::grpc_route::{GrpcBackendRef, GrpcRouteFilter, GrpcRouteRule, GrpcRouteSpec};
use crate::api::http_filter::{
    HttpCorsFilter, HttpExternalAuthFilter, HttpHeaderFilter, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, HttpRouteFilter, HttpUrlRewriteFilter,
};
use crate::api::http_route::{
    HttpBackendRef, HttpRouteRetry, HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts,
};
use crate::api::l4_route::{L4RouteRule, PortRouteSpec, TlsRouteSpec};
use crate::api::meta::{BackendObjectReference, ParentReference, SessionPersistence};
use crate::objects::{ObjectKey, Parsed};

/// A route of any kind with its metadata.
pub(crate) struct RouteObject<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) uid: &'a str,
    pub(super) generation: i64,
    pub(super) created_at_unix_s: i64,
    pub(super) spec: RouteView<'a>,
}

impl<'a> RouteObject<'a> {
    pub(crate) fn new<S>(object: &'a Parsed<S>, view: fn(&'a S) -> RouteView<'a>) -> Self {
        Self {
            key: &object.key,
            uid: &object.uid,
            generation: object.generation,
            created_at_unix_s: object.created_at_unix_s,
            spec: view(&object.spec),
        }
    }
}

/// The specification of a route of any kind.
pub(crate) struct RouteView<'a> {
    pub(super) parent_refs: &'a [ParentReference],
    pub(super) use_default_gateways: bool,
    /// Empty for every host.
    pub(super) hostnames: &'a [String],
    pub(super) rules: RulesView<'a>,
}

/// The rules of a route of any kind.
pub(super) enum RulesView<'a> {
    L7(L7RouteKind, Vec<RuleView<'a>>),
    L4(L4RouteKind, &'a L4RouteRule),
}

/// One rule of an HTTPRoute or GRPCRoute.
pub(super) struct RuleView<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) matches: MatchesView<'a>,
    pub(super) filters: Vec<FilterView<'a>>,
    pub(super) backends: Vec<BackendView<'a>>,
    pub(super) timeouts: Option<&'a HttpRouteTimeouts>,
    pub(super) retry: Option<&'a HttpRouteRetry>,
    pub(super) session: Option<&'a SessionPersistence>,
}

/// The matches of a rule, each kind with its own.
pub(super) enum MatchesView<'a> {
    Http(&'a HttpRouteRule),
    Grpc(&'a GrpcRouteRule),
}

/// One filter; at most one of the fields after `type_` is set.
#[derive(Default)]
pub(super) struct FilterView<'a> {
    pub(super) type_: &'a str,
    pub(super) request_header_modifier: Option<&'a HttpHeaderFilter>,
    pub(super) response_header_modifier: Option<&'a HttpHeaderFilter>,
    pub(super) request_mirror: Option<&'a HttpRequestMirrorFilter>,
    pub(super) request_redirect: Option<&'a HttpRequestRedirectFilter>,
    pub(super) url_rewrite: Option<&'a HttpUrlRewriteFilter>,
    pub(super) cors: Option<&'a HttpCorsFilter>,
    pub(super) external_auth: Option<&'a HttpExternalAuthFilter>,
}

/// One backendRef.
pub(super) struct BackendView<'a> {
    pub(super) target: BackendObjectReference,
    pub(super) weight: i64,
    pub(super) filters: Vec<FilterView<'a>>,
}

impl<'a> From<&'a HttpRouteSpec> for RouteView<'a> {
    fn from(spec: &'a HttpRouteSpec) -> Self {
        Self {
            parent_refs: &spec.parent_refs,
            use_default_gateways: spec.use_default_gateways.is_some(),
            hostnames: &spec.hostnames,
            rules: RulesView::L7(
                L7RouteKind::Http,
                spec.rules.iter().map(RuleView::from).collect(),
            ),
        }
    }
}

impl<'a> From<&'a GrpcRouteSpec> for RouteView<'a> {
    fn from(spec: &'a GrpcRouteSpec) -> Self {
        Self {
            parent_refs: &spec.parent_refs,
            use_default_gateways: spec.use_default_gateways.is_some(),
            hostnames: &spec.hostnames,
            rules: RulesView::L7(
                L7RouteKind::Grpc,
                spec.rules.iter().map(RuleView::from).collect(),
            ),
        }
    }
}

impl<'a> From<&'a TlsRouteSpec> for RouteView<'a> {
    fn from(spec: &'a TlsRouteSpec) -> Self {
        Self {
            parent_refs: &spec.parent_refs,
            use_default_gateways: spec.use_default_gateways.is_some(),
            hostnames: &spec.hostnames,
            rules: RulesView::l4(L4RouteKind::Tls, &spec.rules),
        }
    }
}

impl<'a> RouteView<'a> {
    pub(crate) fn of_tcp(spec: &'a PortRouteSpec) -> Self {
        Self::of_port(L4RouteKind::Tcp, spec)
    }

    pub(crate) fn of_udp(spec: &'a PortRouteSpec) -> Self {
        Self::of_port(L4RouteKind::Udp, spec)
    }

    fn of_port(kind: L4RouteKind, spec: &'a PortRouteSpec) -> Self {
        Self {
            parent_refs: &spec.parent_refs,
            use_default_gateways: spec.use_default_gateways.is_some(),
            hostnames: &[],
            rules: RulesView::l4(kind, &spec.rules),
        }
    }
}

impl<'a> RulesView<'a> {
    fn l4(kind: L4RouteKind, rules: &'a [L4RouteRule]) -> Self {
        Self::L4(
            kind,
            rules.first().expect("the rules of the kind ask for one"),
        )
    }

    pub(super) fn kind(&self) -> RouteKind {
        match self {
            Self::L7(kind, _) => RouteKind::L7(*kind),
            Self::L4(kind, _) => RouteKind::L4(*kind),
        }
    }
}

impl<'a> From<&'a HttpRouteRule> for RuleView<'a> {
    fn from(rule: &'a HttpRouteRule) -> Self {
        Self {
            name: rule.name.as_deref(),
            matches: MatchesView::Http(rule),
            filters: rule.filters.iter().map(FilterView::from).collect(),
            backends: rule.backend_refs.iter().map(BackendView::from).collect(),
            timeouts: rule.timeouts.as_ref(),
            retry: rule.retry.as_ref(),
            session: rule.session_persistence.as_ref(),
        }
    }
}

impl<'a> From<&'a GrpcRouteRule> for RuleView<'a> {
    fn from(rule: &'a GrpcRouteRule) -> Self {
        Self {
            name: rule.name.as_deref(),
            matches: MatchesView::Grpc(rule),
            filters: rule.filters.iter().map(FilterView::from).collect(),
            backends: rule.backend_refs.iter().map(BackendView::from).collect(),
            timeouts: None,
            retry: None,
            session: rule.session_persistence.as_ref(),
        }
    }
}

impl<'a> From<&'a HttpRouteFilter> for FilterView<'a> {
    fn from(filter: &'a HttpRouteFilter) -> Self {
        Self {
            type_: &filter.type_,
            request_header_modifier: filter.request_header_modifier.as_ref(),
            response_header_modifier: filter.response_header_modifier.as_ref(),
            request_mirror: filter.request_mirror.as_ref(),
            request_redirect: filter.request_redirect.as_ref(),
            url_rewrite: filter.url_rewrite.as_ref(),
            cors: filter.cors.as_ref(),
            external_auth: filter.external_auth.as_ref(),
        }
    }
}

impl<'a> From<&'a GrpcRouteFilter> for FilterView<'a> {
    fn from(filter: &'a GrpcRouteFilter) -> Self {
        Self {
            type_: &filter.type_,
            request_header_modifier: filter.request_header_modifier.as_ref(),
            response_header_modifier: filter.response_header_modifier.as_ref(),
            request_mirror: filter.request_mirror.as_ref(),
            ..Self::default()
        }
    }
}

impl<'a> From<&'a HttpBackendRef> for BackendView<'a> {
    fn from(backend: &'a HttpBackendRef) -> Self {
        Self {
            target: backend.target(),
            weight: backend.weight,
            filters: backend.filters.iter().map(FilterView::from).collect(),
        }
    }
}

impl<'a> From<&'a GrpcBackendRef> for BackendView<'a> {
    fn from(backend: &'a GrpcBackendRef) -> Self {
        Self {
            target: backend.target(),
            weight: backend.weight,
            filters: backend.filters.iter().map(FilterView::from).collect(),
        }
    }
}

impl MatchesView<'_> {
    /// The matches that compile; what does not becomes a finding and a problem.
    pub(super) fn compile(
        &self,
        field: &str,
        findings: &mut Findings<'_>,
        problems: &mut Vec<String>,
    ) -> Vec<Match> {
        let field = |index: usize| format!("{field}.matches[{index}]");
        let compiled: Vec<_> = match self {
            Self::Http(rule) if rule.matches.is_empty() => vec![Ok(matcher::any())],
            Self::Grpc(rule) if rule.matches.is_empty() => vec![Ok(matcher::any_call())],
            Self::Http(rule) => {
                let matches = rule.matches.iter().enumerate();
                let matches = matches.map(|(i, m)| matcher::compile(m, &field(i), findings));
                matches.collect()
            }
            Self::Grpc(rule) => {
                let matches = rule.matches.iter().enumerate();
                let matches = matches.map(|(i, m)| matcher::compile_call(m, &field(i), findings));
                matches.collect()
            }
        };
        let mut matches = vec![];
        for compiled in compiled {
            match compiled {
                Ok(compiled) => matches.push(compiled),
                Err(problem) => problems.push(problem),
            }
        }
        matches
    }
}
