//! One request and its answer: what is remembered for the metrics and the access log.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use tidegate_ir::PartName;
use tidegate_router::{CompiledRule, ListenerTable};

use crate::http::stack::Connection;
use crate::thread::{Thread, ThreadServing};

/// An exchange in progress; dropping it ends it, whatever the way.
pub(crate) struct Exchange {
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    serving: Rc<ThreadServing>,
    pub(crate) record: Record,
}

/// What is remembered of an exchange.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    pub(crate) client: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) snapshot_version: u64,
    pub(crate) listener: Option<Arc<ListenerTable>>,
    pub(crate) rule: Option<Arc<CompiledRule>>,
    pub(crate) backend: Option<PartName>,
    pub(crate) endpoint: Option<SocketAddr>,
    /// 0 while there is no answer: the client went away first.
    pub(crate) status: u16,
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
                tls: connection.tls,
                method: request.method().clone(),
                version: request.version(),
                snapshot_version: serving.serving.snapshot.version,
                listener: None,
                rule: None,
                backend: None,
                endpoint: None,
                status: 0,
                reason: None,
                retries: 0,
                response_bytes: 0,
                upstream: None,
                details: details.map(Box::new),
            },
            thread: thread.clone(),
            connection: connection.clone(),
            serving,
        })
    }

    /// The configuration of this exchange, from its first byte to its last.
    pub(crate) fn serving(&self) -> Rc<ThreadServing> {
        self.serving.clone()
    }

    /// The answer has this status.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.record.status = status.as_u16();
    }
}

impl Details {
    fn of<B>(request: &Request<B>) -> Self {
        let headers: &HeaderMap = request.headers();
        Self {
            host: headers.get(header::HOST).cloned(),
            uri: request.uri().clone(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            request_id: headers.get("x-request-id").cloned(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = Instant::now();
        self.connection.request_ended(ended);
        self.thread.metrics.request_ended();
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
