//! Conditions on a request, and how specific they are.

use std::sync::Arc;

use serde::Serialize;

/// All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Condition on the path.
    pub path: PathMatch,
    /// HTTP method, upper case, or `None` for any.
    pub method: Option<Arc<str>>,
    /// Conditions on headers; names are lower case and unique.
    pub headers: Vec<ValueMatch>,
    /// Conditions on query parameters; names are unique.
    pub query_params: Vec<ValueMatch>,
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum PathMatch {
    /// Byte by byte.
    Exact(Arc<str>),
    /// Element by element from the left; without a trailing slash, but for `/` itself.
    Prefix(Arc<str>),
    /// An RE2-style expression that must match the whole path; it compiles.
    Regex(Arc<str>),
    /// A gRPC request (`content-type: application/grpc…`) for that service and method.
    Method(GrpcMethod),
}

/// A condition on the service and the method of a gRPC request, whose path is `/service/method`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct GrpcMethod {
    /// Full name of the service, case-sensitive; `None` for any.
    pub service: Option<StringMatch>,
    /// Name of the method, case-sensitive; `None` for any.
    pub method: Option<StringMatch>,
}

/// A condition on a named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueMatch {
    /// Name of the header (lower case) or query parameter.
    pub name: Arc<str>,
    /// Condition on the value.
    pub value: StringMatch,
}

/// A condition on a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum StringMatch {
    /// Byte by byte.
    Exact(Arc<str>),
    /// An RE2-style expression that must match the whole text; it compiles.
    Regex(Arc<str>),
}

/// How specific a match is; the greater one wins (Gateway API, `HTTPRouteRule.matches`).
///
/// The fields stand in the order in which they are compared. Expressions stand between exact paths
/// and prefixes: the specification leaves their place to the implementation. A gRPC request that a
/// GRPCRoute and an HTTPRoute match goes to the GRPCRoute, whose condition on the request is narrower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precedence {
    /// 3 for a gRPC method, 2 for exact, 1 for an expression, 0 for a prefix.
    pub path_type: u8,
    /// Characters of the path, prefix or expression, or of the gRPC service.
    pub path_len: u32,
    /// Characters of the gRPC method; 0 for other conditions.
    pub grpc_method_len: u32,
    /// Whether a method is asked for.
    pub method: bool,
    /// Number of header conditions.
    pub headers: u16,
    /// Number of query parameter conditions.
    pub query_params: u16,
}

impl Match {
    /// How specific this match is.
    pub fn precedence(&self) -> Precedence {
        let len = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let (path_type, path_len, grpc_method_len) = match &self.path {
            PathMatch::Method(condition) => {
                let len = |part: &Option<StringMatch>| part.as_ref().map_or(0, |p| len(p.text()));
                (3, len(&condition.service), len(&condition.method))
            }
            PathMatch::Exact(path) => (2, len(path), 0),
            PathMatch::Regex(path) => (1, len(path), 0),
            PathMatch::Prefix(path) => (0, len(path), 0),
        };
        Precedence {
            path_type,
            path_len,
            grpc_method_len,
            method: self.method.is_some(),
            headers: u16::try_from(self.headers.len()).unwrap_or(u16::MAX),
            query_params: u16::try_from(self.query_params.len()).unwrap_or(u16::MAX),
        }
    }
}

impl StringMatch {
    /// The text or the expression.
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Regex(text) => text,
        }
    }
}

impl PathMatch {
    /// Whether `path` starts with the elements of `prefix` (which has no trailing slash, but for `/`).
    pub fn prefix_matches(prefix: &str, path: &str) -> bool {
        if prefix == "/" {
            return path.starts_with('/');
        }
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_whole_elements_only() {
        assert!(PathMatch::prefix_matches("/v2", "/v2"));
        assert!(PathMatch::prefix_matches("/v2", "/v2/"));
        assert!(PathMatch::prefix_matches("/v2", "/v2/x"));
        assert!(!PathMatch::prefix_matches("/v2", "/v2example"));
        assert!(PathMatch::prefix_matches("/", "/anything"));
    }

    #[test]
    fn path_type_then_length_then_method_then_counts_decide() {
        let of = |path: PathMatch, method: Option<&str>, headers: usize| {
            let header = ValueMatch {
                name: "a".into(),
                value: StringMatch::Exact("b".into()),
            };
            let headers = vec![header; headers];
            let method = method.map(Arc::from);
            Match {
                path,
                method,
                headers,
                query_params: vec![],
            }
            .precedence()
        };
        let prefix = |path: &str| PathMatch::Prefix(path.into());
        let grpc = |service: Option<&str>, method: Option<&str>| {
            let exact = |text: &str| StringMatch::Exact(text.into());
            PathMatch::Method(GrpcMethod {
                service: service.map(exact),
                method: method.map(exact),
            })
        };
        let order = [
            of(prefix("/"), Some("GET"), 3),
            of(prefix("/a"), None, 0),
            of(prefix("/a"), None, 1),
            of(prefix("/a"), Some("GET"), 0),
            of(prefix("/a/very/long/prefix"), None, 0),
            of(PathMatch::Regex("/a.*".into()), None, 0),
            of(PathMatch::Exact("/a".into()), None, 0),
            of(grpc(None, None), None, 0),
            of(grpc(None, Some("Ping")), None, 0),
            of(grpc(Some("a.B"), None), None, 0),
            of(grpc(Some("a.B"), Some("Ping")), None, 0),
            of(grpc(Some("a.B"), Some("Ping")), None, 1),
        ];
        assert!(order.is_sorted(), "{order:?}");
    }
}
