//! HTTP/2 towards clients, by hyper.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::ended::Ended;
use super::serve::Port;
use crate::http::client_body::ClientBody;
use crate::http::stack::{Connection, answer};
use crate::limits::Limits;
use crate::terms::Terms;
use crate::thread::LocalExecutor;

/// Credit for one stream, in bytes: what a fast path holds in flight (RFC 9113, section 5.2).
const STREAM_WINDOW: u32 = 1 << 20;

/// Credit for all streams together, in bytes: large, so that slow ones do not starve others.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Bytes of a stream that wait to be written.
const SEND_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Time between two pings of a connection that has requests, and for the answer to one.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection until it ends. After the port's `stop` it ends with its requests.
pub(super) async fn serve<I>(port: &Rc<Port>, connection: &Rc<Connection>, io: I, terms: Arc<Terms>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = &terms.limits;
    let (thread, of_request) = (port.thread.clone(), connection.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let terms = thread.terms(of_request.bind_port);
        let request = request.map(|body| ClientBody::of_http2(body, &terms.limits));
        answer(thread.clone(), of_request.clone(), request).map(Ok::<_, Infallible>)
    });
    let serving = hyper::server::conn::http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(limits.h2_resets_max)
        .max_local_error_reset_streams(limits.h2_local_resets_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(io), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = &mut serving => ended,
        () = unused_too_long(limits, connection) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = port.stop.cancelled() => {
            connection.closing.set(true);
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client = %connection.client, %error, "a connection ended early");
        if let Some(reason) = Ended::of_h2(&error) {
            port.thread.metrics.connection_ended(reason);
        }
    }
}

/// Waits until a connection has had no request for too long: the first one has less time.
async fn unused_too_long(limits: &Limits, connection: &Connection) {
    loop {
        let bound = if connection.has_served() {
            limits.idle_timeout
        } else {
            limits.header_timeout
        };
        let now = Instant::now();
        let end = connection.unused_since().map_or(now, |since| since) + bound;
        if end <= now {
            return;
        }
        tokio::time::sleep_until(end.into()).await;
    }
}
