//! A server that is asked before a request is let through (GEP-1494).

use std::sync::Arc;

use serde::Serialize;

use crate::Target;

/// A server that is asked before a request is let through; what it does not allow is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternalAuth {
    /// The server; a fault means that every request is refused.
    pub target: Target,
    /// How it is asked.
    pub protocol: AuthProtocol,
    /// The body goes along up to that many bytes, more gets 413; `None` means no body. 1 to 1,048,576.
    pub forward_body_max: Option<u32>,
}

/// How an authorization server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum AuthProtocol {
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Headers that go along, lower case; empty means all.
        allowed_headers: Vec<Arc<str>>,
    },
    /// A request with the same method and path; 200 lets the request through.
    Http {
        /// Stands before the path; empty or begins with `/`.
        path_prefix: Arc<str>,
        /// Headers that go along besides the usual ones, lower case.
        allowed_headers: Vec<Arc<str>>,
        /// Headers of the answer that are set on the request, lower case; empty means all but those of framing and body.
        allowed_response_headers: Vec<Arc<str>>,
    },
}
