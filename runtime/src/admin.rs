//! The admin port: health, metrics and debug pages over plain HTTP/1.1.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::metrics::Metrics;
use crate::ready::Readiness;
use crate::telemetry::LogFilter;

mod pages;

/// The answer of an admin page.
pub type Response = http::Response<Full<Bytes>>;

/// Connections served at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// The longest that a client may take to send its request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pages of one process, before its port is bound.
///
/// Built in: GET `/livez`, `/readyz`, `/startupz`, `/metrics`, `/debug/log`, and PUT `/debug/log`.
pub struct AdminServer {
    pages: Pages,
}

/// An admin server whose port is bound.
#[derive(Debug)]
pub struct BoundAdminServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    pages: Arc<Pages>,
}

/// Why the admin port is not served.
#[derive(Debug, Error)]
pub enum AdminError {
    /// Another process, or another part of this one, has the port.
    #[error(
        "admin address {addr} is in use: stop the process that listens there, \
         or choose another address (port 0 takes any free one)"
    )]
    InUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The system refused the address for another reason.
    #[error("binding the admin address {addr} failed")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

type Page = Box<dyn Fn() -> Response + Send + Sync>;

struct Pages {
    metrics: Metrics,
    readiness: Readiness,
    log_filter: Option<LogFilter>,
    added: BTreeMap<String, Page>,
}

impl AdminServer {
    /// The built-in pages over `metrics` and `readiness`.
    pub fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self {
            pages: Pages {
                metrics,
                readiness,
                log_filter: None,
                added: BTreeMap::new(),
            },
        }
    }

    /// Lets GET and PUT `/debug/log` read and change `filter`; without it they answer 404.
    #[must_use]
    pub fn log_filter(mut self, filter: LogFilter) -> Self {
        self.pages.log_filter = Some(filter);
        self
    }

    /// Adds a page under GET `path`; it must not block. A built-in path keeps its own page.
    #[must_use]
    pub fn route(
        mut self,
        path: impl Into<String>,
        page: impl Fn() -> Response + Send + Sync + 'static,
    ) -> Self {
        self.pages.added.insert(path.into(), Box::new(page));
        self
    }

    /// Binds the port.
    ///
    /// # Errors
    /// When the address is in use or refused.
    pub async fn bind(self, addr: SocketAddr) -> Result<BoundAdminServer, AdminError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { addr },
            _ => AdminError::Bind { addr, source },
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(BoundAdminServer {
            listener,
            local_addr,
            pages: Arc::new(self.pages),
        })
    }
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pages.fmt(f)
    }
}

impl BoundAdminServer {
    /// The bound address, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `end` is ready; give it the end of the drain, not its start, so that a draining
    /// process still says that it is not ready.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(end);
        loop {
            let has_room = connections.len() < CONNECTIONS_MAX;
            tokio::select! {
                () = &mut end => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, Arc::clone(&self.pages)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting an admin connection failed");
                        // Out of descriptors, most likely: trying again at once would spin.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("added", &self.added.keys())
            .finish_non_exhaustive()
    }
}

/// An answer of plain text, for pages that need no more.
pub fn text_response(status: StatusCode, text: impl Into<Bytes>) -> Response {
    response(status, "text/plain; charset=utf-8", text.into())
}

/// An answer whose `json` is already encoded.
pub fn json_response(json: impl Into<Bytes>) -> Response {
    response(StatusCode::OK, "application/json", json.into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = http::Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

async fn serve_connection(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(|request| pages.answer(request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
