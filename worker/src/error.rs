//! Why the worker, and not a backend, answers a request.

use std::sync::Arc;

use http::StatusCode;
use tidegate_codec::{Fault, Refusal};

/// Why a request did not reach a backend, or its answer did not come back.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the request has no valid Host header")]
    BadHost,
    #[error("CONNECT is not supported")]
    Connect,
    #[error("of the protocols that CONNECT may name only websocket is supported")]
    Protocol,
    #[error("the backend speaks HTTP/2 and does not say that it knows WebSocket")]
    NoWebSocket,
    #[error("no listener serves this host")]
    NoListener,
    #[error("no route matches this request")]
    NoRoute,
    #[error("this connection is for another host")]
    Misdirected,
    #[error("{0}")]
    Fault(Arc<str>),
    #[error("the backend has no endpoint")]
    NoEndpoint,
    #[error("the backend refuses connections")]
    ConnectFailed,
    #[error("the backend's TLS is not as it must be")]
    UpstreamTls,
    #[error("the backend has as many requests or connections as it may")]
    Overloaded,
    #[error("connecting to the backend took too long")]
    ConnectTimeout,
    #[error("the backend closed the connection without an answer")]
    UpstreamClosed,
    #[error("the backend's answer is not valid HTTP")]
    UpstreamInvalid,
    #[error("the backend's answer is not valid: {0}")]
    UpstreamFault(Fault),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the request's body took too long")]
    RequestBodyTimeout,
    #[error("the request's body is larger than the {max} bytes that are checked")]
    RequestBodyTooLarge { max: usize },
    #[error("the authorization server cannot be asked")]
    AuthUnavailable,
    #[error("the request timeout passed")]
    RequestTimeout,
    #[error("the backend failed, and its retry budget is used up")]
    RetryBudget,
    #[error("the backend took too long to answer")]
    BackendTimeout,
}

impl ProxyError {
    /// The status that the client gets.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadHost => StatusCode::BAD_REQUEST,
            Self::Refused(refusal) => refusal.status(),
            Self::Connect | Self::Protocol | Self::NoWebSocket => StatusCode::NOT_IMPLEMENTED,
            Self::NoListener | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::RequestBodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestBodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoEndpoint | Self::Overloaded | Self::RetryBudget | Self::AuthUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectFailed
            | Self::UpstreamTls
            | Self::UpstreamClosed
            | Self::UpstreamInvalid
            | Self::UpstreamFault(_) => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::RequestTimeout | Self::BackendTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
        }
    }

    /// One word for logs and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::Connect => "connect_unsupported",
            Self::Protocol | Self::NoWebSocket => "protocol_unsupported",
            Self::NoListener => "no_listener",
            Self::NoRoute => "no_route",
            Self::Misdirected => "misdirected",
            Self::Fault(_) => "rule_invalid",
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamTls => "upstream_tls",
            Self::Overloaded => "overloaded",
            Self::RetryBudget => "retry_budget",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::UpstreamFault(fault) => fault.reason(),
            Self::Refused(refusal) => refusal.reason(),
            Self::RequestBodyTimeout => "request_body_timeout",
            Self::RequestBodyTooLarge { .. } => "request_body_too_large",
            Self::AuthUnavailable => "auth_unavailable",
            Self::RequestTimeout => "request_timeout",
            Self::BackendTimeout => "backend_timeout",
        }
    }
}
