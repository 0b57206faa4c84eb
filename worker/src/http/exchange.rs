//! One request and its answer: what is remembered for the metrics and the access log.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri, Version};
use tidegate_ir::PartName;
use tidegate_router::{CompiledRule, ListenerTable, is_grpc};

use crate::error::ProxyError;
use crate::http::body::ResponseBody;
use crate::http::client_body::ClientBody;
use crate::http::interim::Interim;
use crate::http::stack::Connection;
use crate::http::{grpc, respond};
use crate::thread::{Thread, ThreadServing};

/// An exchange in progress; dropping it ends it, whatever the way.
pub(crate) struct Exchange {
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    serving: Rc<ThreadServing>,
    pub(crate) record: Record,
    /// Headers for the answer that an authorization server asked for.
    pub(crate) added: Vec<Added>,
    /// What the client sends after the connection has left HTTP, if it does.
    pub(crate) tunnel: Option<ClientBody>,
    /// Takes what backends say before their answer.
    pub(crate) interim: Interim,
}

/// A header for the answer.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    /// Whether it stands beside those that are there.
    pub(crate) append: bool,
}

/// What is remembered of an exchange.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    /// Port 0 where a proxy tells the address.
    pub(crate) client: SocketAddr,
    /// Whose connection it is.
    pub(crate) peer: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Whether the client speaks gRPC, so that the worker's own answers do, too.
    pub(crate) grpc: bool,
    pub(crate) snapshot_version: u64,
    pub(crate) listener: Option<Arc<ListenerTable>>,
    pub(crate) rule: Option<Arc<CompiledRule>>,
    pub(crate) backend: Option<PartName>,
    pub(crate) endpoint: Option<SocketAddr>,
    /// 0 while there is no answer: the client went away first.
    pub(crate) status: u16,
    /// Whether a gRPC status says that the server has failed.
    pub(crate) grpc_failed: bool,
    /// Why the worker answered itself, or the answer is incomplete.
    pub(crate) reason: Option<&'static str>,
    pub(crate) retries: u32,
    pub(crate) response_bytes: u64,
    /// From the start of the last attempt to the response's head.
    pub(crate) upstream: Option<Duration>,
    /// What only the access log wants.
    pub(crate) details: Option<Box<Details>>,
}

/// What only the access log wants; cheap clones of the request's head.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) host: Option<HeaderValue>,
    pub(crate) uri: Uri,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
}

impl Exchange {
    /// Starts with the arrival of a request's head.
    pub(crate) fn start<B>(
        thread: &Rc<Thread>,
        connection: &Rc<Connection>,
        request: &Request<B>,
    ) -> Box<Self> {
        let serving = thread.serving();
        connection.request_started();
        thread.metrics.request_started();
        let details = thread.access_log.is_some().then(|| Details::of(request));
        Box::new(Self {
            record: Record {
                started: Instant::now(),
                client: connection.client,
                peer: connection.client,
                tls: connection.tls,
                method: request.method().clone(),
                version: request.version(),
                grpc: request.version() == Version::HTTP_2 && is_grpc(request.headers()),
                snapshot_version: serving.serving.snapshot.version,
                listener: None,
                rule: None,
                backend: None,
                endpoint: None,
                status: 0,
                grpc_failed: false,
                reason: None,
                retries: 0,
                response_bytes: 0,
                upstream: None,
                details: details.map(Box::new),
            },
            added: Vec::new(),
            tunnel: None,
            interim: Interim::default(),
            thread: thread.clone(),
            connection: connection.clone(),
            serving,
        })
    }

    /// Starts with bytes that are no request; of such a one nothing else is known.
    pub(crate) fn of_no_request(thread: &Rc<Thread>, connection: &Rc<Connection>) -> Box<Self> {
        let mut exchange = Self::start(thread, connection, &Request::new(()));
        exchange.record.method = Method::from_bytes(b"_OTHER").unwrap_or_default();
        exchange.record.details = None;
        exchange
    }

    /// The configuration of this exchange, from its first byte to its last.
    pub(crate) fn serving(&self) -> Rc<ThreadServing> {
        self.serving.clone()
    }

    /// This is the answer.
    pub(crate) fn answered(&mut self, response: &mut Response<ResponseBody>) {
        self.record.status = response.status().as_u16();
        self.record.notice_end(response.headers());
        for added in self.added.drain(..) {
            if added.append {
                response.headers_mut().append(added.name, added.value);
            } else {
                response.headers_mut().insert(added.name, added.value);
            }
        }
    }

    /// The worker's own answer to a request that could not be forwarded.
    pub(crate) fn refuse(&mut self, error: &ProxyError) -> Response<ResponseBody> {
        self.record.reason = Some(error.reason());
        if self.record.grpc {
            grpc::answer(grpc::Code::of_error(error), &error.to_string())
        } else {
            respond::error(error)
        }
    }
}

impl Record {
    /// Looks at headers or trailers that may say how a gRPC exchange ended.
    pub(crate) fn notice_end(&mut self, headers: &HeaderMap) {
        if self.grpc {
            self.grpc_failed |= grpc::is_failure(headers);
        }
    }

    /// Remembers the request's id for the access log.
    pub(crate) fn notice_id(&mut self, headers: &HeaderMap) {
        if let Some(details) = &mut self.details {
            details.request_id = headers.get("x-request-id").cloned();
        }
    }
}

impl Details {
    fn of<B>(request: &Request<B>) -> Self {
        let headers: &HeaderMap = request.headers();
        Self {
            host: headers.get(header::HOST).cloned(),
            uri: request.uri().clone(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            request_id: None,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = Instant::now();
        self.connection.request_ended(ended);
        self.thread.metrics.request_ended();
        // A status of HTTP counts by itself.
        if self.record.grpc_failed && self.record.status < 500 {
            self.thread.metrics.grpc_failed();
        }
        if self.record.status == 0 {
            self.record.reason = Some("client_closed");
        }
        let duration = ended.duration_since(self.record.started);
        self.serving
            .observe(&self.thread.metrics, &self.record, duration);
        if let Some(log) = &self.thread.access_log {
            log.write(&self.record, duration);
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.record.fmt(f)
    }
}
