//! Changes to requests and responses, ready to be carried out.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tidegate_ir::{
    AuthProtocol, ExternalAuth, Filter, HeaderEdits, Mirror, PathEdit, Rewrite, Target,
};

use crate::cors::CompiledCors;

/// The filters of a rule, of a backend or of a listener.
#[derive(Debug, Default)]
pub struct CompiledFilters {
    list: Vec<CompiledFilter>,
    cors: Option<Box<CompiledCors>>,
    asks: bool,
}

/// One change to a request or response.
#[derive(Debug)]
pub enum CompiledFilter {
    /// Change the request's headers.
    RequestHeaders(CompiledEdits),
    /// Change the response's headers.
    ResponseHeaders(CompiledEdits),
    /// Change host or path.
    Rewrite(CompiledRewrite),
    /// Send a copy elsewhere.
    Mirror(Mirror),
    /// Ask a server first.
    ExternalAuth(Box<CompiledAuth>),
}

/// Header changes, carried out as set, add, remove.
#[derive(Debug, Default)]
pub struct CompiledEdits {
    /// Replace all values.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Append a value.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Delete.
    pub remove: Vec<HeaderName>,
}

/// Host and path of the forwarded request.
#[derive(Debug)]
pub struct CompiledRewrite {
    /// New host, or `None` to keep it.
    pub hostname: Option<HeaderValue>,
    /// New path, or `None` to keep it.
    pub path: Option<PathEdit>,
}

/// A server that is asked before a request is let through (GEP-1494).
#[derive(Debug)]
pub struct CompiledAuth {
    /// The server; a fault means that every request is refused.
    pub target: Target,
    /// How it is asked.
    pub protocol: CompiledAuthProtocol,
    /// The body goes along up to that many bytes, more gets 413; `None` means no body.
    pub body_bytes_max: Option<usize>,
}

/// How an authorization server is asked.
#[derive(Debug)]
pub enum CompiledAuthProtocol {
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Headers that go along; empty means all.
        allowed_headers: Vec<HeaderName>,
    },
    /// A request with the same method and path; 200 lets the request through.
    Http {
        /// Stands before the path; empty or begins with `/`.
        path_prefix: Arc<str>,
        /// Headers that go along besides the usual ones.
        allowed_headers: Vec<HeaderName>,
        /// Headers of the answer that are set on the request; empty means all but those of framing and body.
        allowed_response_headers: Vec<HeaderName>,
    },
}

impl CompiledFilters {
    /// Compiles filters.
    ///
    /// # Errors
    /// One sentence, for what the control plane should not have let through.
    pub(crate) fn new(filters: &[Filter]) -> Result<Self, String> {
        let mut compiled = Self::default();
        for filter in filters {
            compiled.add(filter)?;
        }
        Ok(compiled)
    }

    /// Compiles the filters of a listener, which run before a route is looked for: they can change
    /// the request and refuse it, and nothing else.
    ///
    /// # Errors
    /// One sentence, for what the control plane should not have let through.
    pub(crate) fn of_listener(filters: &[Filter]) -> Result<Self, String> {
        let compiled = Self::new(filters)?;
        let misplaced = compiled.list.iter().any(|filter| match filter {
            CompiledFilter::ResponseHeaders(_) | CompiledFilter::Mirror(_) => true,
            CompiledFilter::RequestHeaders(_)
            | CompiledFilter::Rewrite(_)
            | CompiledFilter::ExternalAuth(_) => false,
        });
        if misplaced || compiled.cors.is_some() {
            return Err("a listener's filters change or check the request only".to_owned());
        }
        Ok(compiled)
    }

    fn add(&mut self, filter: &Filter) -> Result<(), String> {
        let compiled = match filter {
            Filter::RequestHeaders(edits) => {
                CompiledFilter::RequestHeaders(CompiledEdits::new(edits)?)
            }
            Filter::ResponseHeaders(edits) => {
                CompiledFilter::ResponseHeaders(CompiledEdits::new(edits)?)
            }
            Filter::Rewrite(Rewrite { hostname, path }) => {
                CompiledFilter::Rewrite(CompiledRewrite {
                    hostname: hostname.as_deref().map(header_value).transpose()?,
                    path: path.clone(),
                })
            }
            Filter::Mirror(mirror) => CompiledFilter::Mirror(mirror.clone()),
            Filter::ExternalAuth(auth) => {
                self.asks = true;
                CompiledFilter::ExternalAuth(Box::new(CompiledAuth::new(auth)?))
            }
            Filter::Cors(cors) => {
                self.cors = Some(Box::new(CompiledCors::new(cors)?));
                return Ok(());
            }
        };
        self.list.push(compiled);
        Ok(())
    }

    /// Every filter but CORS, in the order in which they apply.
    pub fn list(&self) -> &[CompiledFilter] {
        &self.list
    }

    /// Which other origins may read the answers, where that is said.
    pub fn cors(&self) -> Option<&CompiledCors> {
        self.cors.as_deref()
    }

    /// Whether a server has to be asked.
    pub fn asks(&self) -> bool {
        self.asks
    }
}

impl CompiledAuth {
    fn new(auth: &ExternalAuth) -> Result<Self, String> {
        let names = |names: &[Arc<str>]| {
            let names = names.iter().map(|name| header_name(name));
            names.collect::<Result<Vec<_>, _>>()
        };
        let protocol = match &auth.protocol {
            AuthProtocol::Grpc { allowed_headers } => CompiledAuthProtocol::Grpc {
                allowed_headers: names(allowed_headers)?,
            },
            AuthProtocol::Http {
                path_prefix,
                allowed_headers,
                allowed_response_headers,
            } => CompiledAuthProtocol::Http {
                path_prefix: path_prefix.clone(),
                allowed_headers: names(allowed_headers)?,
                allowed_response_headers: names(allowed_response_headers)?,
            },
        };
        Ok(Self {
            target: auth.target.clone(),
            protocol,
            body_bytes_max: auth.forward_body_max.map(|max| max as usize),
        })
    }
}

impl CompiledEdits {
    fn new(edits: &HeaderEdits) -> Result<Self, String> {
        type Pairs = Vec<(HeaderName, HeaderValue)>;
        let pair = |(name, value): &(Arc<str>, Arc<str>)| -> Result<_, String> {
            Ok((header_name(name)?, header_value(value)?))
        };
        let pairs = |pairs: &[_]| pairs.iter().map(pair).collect::<Result<Pairs, String>>();
        Ok(Self {
            set: pairs(&edits.set)?,
            add: pairs(&edits.add)?,
            remove: edits
                .remove
                .iter()
                .map(|name| header_name(name))
                .collect::<Result<_, String>>()?,
        })
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header name"))
}

pub(crate) fn header_value(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no header value"))
}
