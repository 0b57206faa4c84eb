//! Conditions on a request, ready to be tested.

use std::cell::OnceCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use regex::{Regex, RegexBuilder};
use tidegate_ir::{GrpcMethod, Match, PathMatch, StringMatch, ValueMatch};

use crate::query::Query;

/// The largest compiled expression, in bytes: beyond it the snapshot is refused.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// The part of a request that decides where it goes.
#[derive(Debug)]
pub struct RequestHead<'r> {
    /// The method.
    pub method: &'r Method,
    /// As [`crate::host_of`] returns it; empty for a request without host.
    pub host: &'r str,
    /// The path as sent, without query.
    pub path: &'r str,
    /// The query as sent, without question mark.
    pub query: Option<&'r str>,
    /// The header section.
    pub headers: &'r HeaderMap,
}

/// A match of a rule, ready to be tested.
#[derive(Debug)]
pub struct CompiledMatch {
    source: Match,
    path: PathTest,
    method: Option<Method>,
    headers: Box<[(HeaderName, Text)]>,
    query_params: Box<[(Arc<str>, Text)]>,
}

/// The first condition of a match that a request does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The path is another one.
    Path {
        /// What the path must be.
        wanted: PathMatch,
    },
    /// The method is another one.
    Method {
        /// What the method must be.
        wanted: Arc<str>,
    },
    /// A header is missing or has another value.
    Header {
        /// What the header must be.
        wanted: ValueMatch,
        /// What the request has.
        found: Option<String>,
    },
    /// A query parameter is missing or has another value.
    QueryParam {
        /// What the parameter must be.
        wanted: ValueMatch,
        /// What the request has.
        found: Option<String>,
    },
}

/// What is left to test of a path after the index. In boxes, because there is mostly nothing, and there are many.
#[derive(Debug)]
enum PathTest {
    /// Nothing: it is exact or a prefix.
    Indexed,
    Expression(Box<Regex>),
    Method(Box<MethodTest>),
}

/// A gRPC request whose service and method fulfil these.
#[derive(Debug)]
struct MethodTest {
    service: Option<Text>,
    method: Option<Text>,
}

#[derive(Debug)]
enum Text {
    Exact(Arc<str>),
    Expression(Regex),
}

/// A request under test: what is derived from its head is derived at most once.
#[derive(Debug)]
pub(crate) struct Probe<'r> {
    pub(crate) head: &'r RequestHead<'r>,
    query: OnceCell<Query<'r>>,
}

impl<'r> Probe<'r> {
    pub(crate) fn new(head: &'r RequestHead<'r>) -> Self {
        Self {
            head,
            query: OnceCell::new(),
        }
    }

    fn query_param(&self, name: &str) -> Option<&str> {
        self.query
            .get_or_init(|| Query::new(self.head.query))
            .first(name)
    }

    /// The header's value; several are joined by a comma (RFC 9110, section 5.3).
    fn header(&self, name: &HeaderName) -> Option<std::borrow::Cow<'r, [u8]>> {
        let mut values = self.head.headers.get_all(name).iter();
        let first = values.next()?.as_bytes();
        if self.head.headers.get_all(name).iter().nth(1).is_none() {
            return Some(first.into());
        }
        let rest = values.flat_map(|value| b",".iter().chain(value.as_bytes()));
        Some(first.iter().chain(rest).copied().collect())
    }
}

impl CompiledMatch {
    /// Compiles a match.
    ///
    /// # Errors
    /// One sentence, when an expression or a header name is not valid.
    pub(crate) fn new(source: &Match) -> Result<Self, String> {
        let path = match &source.path {
            PathMatch::Regex(expression) => {
                let expression = anchored(expression)?;
                PathTest::Expression(Box::new(expression))
            }
            PathMatch::Method(GrpcMethod { service, method }) => {
                let test = MethodTest {
                    service: service.as_ref().map(Text::new).transpose()?,
                    method: method.as_ref().map(Text::new).transpose()?,
                };
                PathTest::Method(Box::new(test))
            }
            PathMatch::Exact(_) | PathMatch::Prefix(_) => PathTest::Indexed,
        };
        let method = source.method.as_deref().map(|name| {
            Method::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no HTTP method"))
        });
        let headers = source.headers.iter().map(|header| {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| format!("{:?} is no header name", header.name))?;
            Ok((name, Text::new(&header.value)?))
        });
        let query_params = source.query_params.iter();
        let query_params = query_params.map(|p| Ok((p.name.clone(), Text::new(&p.value)?)));
        Ok(Self {
            path,
            method: method.transpose()?,
            headers: headers.collect::<Result<_, String>>()?,
            query_params: query_params.collect::<Result<_, String>>()?,
            source: source.clone(),
        })
    }

    /// The match as the snapshot states it.
    pub fn source(&self) -> &Match {
        &self.source
    }

    /// Bytes of the request's path that the rule's prefix covers; 0 where there is no prefix, and for `/`.
    pub fn prefix_len(&self) -> usize {
        match &self.source.path {
            PathMatch::Prefix(prefix) if &**prefix != "/" => prefix.len(),
            _ => 0,
        }
    }

    /// Whether all conditions hold, that on an exact or prefix path excepted: the index has tested it.
    pub(crate) fn holds_beside_indexed_path(&self, probe: &Probe<'_>) -> bool {
        self.path.holds(probe.head)
            && self
                .method
                .as_ref()
                .is_none_or(|method| method == probe.head.method)
            && self.headers.iter().all(|(name, text)| {
                probe
                    .header(name)
                    .is_some_and(|value| text.matches_bytes(&value))
            })
            && self.query_params.iter().all(|(name, text)| {
                probe
                    .query_param(name)
                    .is_some_and(|value| text.matches(value))
            })
    }

    /// The first condition that does not hold, or `None` where all do.
    pub(crate) fn mismatch(&self, probe: &Probe<'_>) -> Option<Mismatch> {
        if !self.path_holds(probe.head) {
            return Some(Mismatch::Path {
                wanted: self.source.path.clone(),
            });
        }
        if self
            .method
            .as_ref()
            .is_some_and(|method| method != probe.head.method)
        {
            let wanted = self.source.method.clone().unwrap_or_default();
            return Some(Mismatch::Method { wanted });
        }
        for ((name, text), wanted) in self.headers.iter().zip(&self.source.headers) {
            let found = probe.header(name);
            if !found
                .as_ref()
                .is_some_and(|value| text.matches_bytes(value))
            {
                let found = found.map(|value| String::from_utf8_lossy(&value).into_owned());
                return Some(Mismatch::Header {
                    wanted: wanted.clone(),
                    found,
                });
            }
        }
        for ((name, text), wanted) in self.query_params.iter().zip(&self.source.query_params) {
            let found = probe.query_param(name);
            if !found.is_some_and(|value| text.matches(value)) {
                let found = found.map(str::to_owned);
                return Some(Mismatch::QueryParam {
                    wanted: wanted.clone(),
                    found,
                });
            }
        }
        None
    }

    fn path_holds(&self, head: &RequestHead<'_>) -> bool {
        match &self.source.path {
            PathMatch::Exact(exact) => **exact == *head.path,
            PathMatch::Prefix(prefix) => PathMatch::prefix_matches(prefix, head.path),
            PathMatch::Regex(_) | PathMatch::Method(_) => self.path.holds(head),
        }
    }
}

impl PathTest {
    fn holds(&self, head: &RequestHead<'_>) -> bool {
        match self {
            Self::Indexed => true,
            Self::Expression(expression) => expression.is_match(head.path),
            Self::Method(test) => test.holds(head),
        }
    }
}

impl MethodTest {
    fn holds(&self, head: &RequestHead<'_>) -> bool {
        let holds = |test: &Option<Text>, text| test.as_ref().is_none_or(|test| test.matches(text));
        let called = head.path.strip_prefix('/').and_then(|p| p.split_once('/'));
        called.is_some_and(|(service, method)| {
            holds(&self.service, service) && holds(&self.method, method) && is_grpc(head.headers)
        })
    }
}

/// Whether a request is a gRPC call: its content type is `application/grpc`, or that with a suffix
/// or parameters (gRPC over HTTP/2).
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl Text {
    fn new(source: &StringMatch) -> Result<Self, String> {
        Ok(match source {
            StringMatch::Exact(text) => Self::Exact(text.clone()),
            StringMatch::Regex(expression) => Self::Expression(anchored(expression)?),
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Expression(expression) => expression.is_match(text),
        }
    }

    fn matches_bytes(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == bytes,
            Self::Expression(expression) => {
                std::str::from_utf8(bytes).is_ok_and(|text| expression.is_match(text))
            }
        }
    }
}

/// An expression that must match the whole text.
fn anchored(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(&format!("^(?:{expression})$"))
        .size_limit(EXPRESSION_BYTES_MAX)
        .dfa_size_limit(EXPRESSION_BYTES_MAX)
        .build()
        .map_err(|error| format!("the expression {expression:?} does not compile: {error}"))
}
