//! Connections that leave HTTP: from then on the bytes of both sides are passed on as they are.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tidegate_codec::http1::names_token;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::http::body::ResponseBody;
use crate::http::client_body::ClientBody;
use crate::thread::Open;

/// Bytes that are taken from a backend at a time.
const READ_BYTES: usize = 16 << 10;

/// The backend's connection after it has left HTTP.
type Backend = TokioIo<Upgraded>;

/// What a backend sends after it has left HTTP.
pub(crate) struct Tunnel {
    joining: oneshot::Receiver<ReadHalf<Backend>>,
    backend: Option<ReadHalf<Backend>>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    input: BytesMut,
    _open: Open,
}

/// The bounds of a tunnel.
#[derive(Debug)]
pub(crate) struct TunnelEnd {
    /// Ends the tunnel at once.
    pub(crate) stop: CancellationToken,
    /// Time for the backend's last bytes after the client's.
    pub(crate) half_closed_timeout: Duration,
}

/// The protocol that a request asks to change to (RFC 9110, section 7.8).
///
/// Another version of HTTP is not passed on: what came by it would be seen by no rule.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let is_http = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        name.starts_with("http") || name.starts_with("h2") || name.starts_with("tls")
    };
    let is_asked = names_token(headers, header::CONNECTION, "upgrade");
    let is_other = protocol
        .to_str()
        .is_ok_and(|names| !names.split(',').any(is_http));
    (is_asked && is_other).then(|| protocol.clone())
}

/// Asks the backend for the same change.
pub(crate) fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Answers 101 and passes bytes on: the client's by a task, the backend's as the body of the answer.
pub(crate) fn tunnel(
    client: ClientBody,
    mut response: Response<Incoming>,
    open: Open,
    end: TunnelEnd,
) -> Response<ResponseBody> {
    let backend = hyper::upgrade::on(&mut response);
    let over = end.stop.child_token();
    let (join, joining) = oneshot::channel();
    let tunnel = Tunnel {
        joining,
        backend: None,
        over: Box::pin(over.clone().cancelled_owned()),
        input: BytesMut::new(),
        _open: open,
    };
    tokio::task::spawn_local(async move {
        let _over = over.clone().drop_guard();
        let Ok(backend) = backend.await else {
            return;
        };
        let (reader, writer) = tokio::io::split(TokioIo::new(backend));
        // The client may be gone already; then its side ends at once, too.
        let _ = join.send(reader);
        tokio::select! {
            () = send(client, writer) => {}
            () = over.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(end.half_closed_timeout) => {}
            () = over.cancelled() => {}
        }
    });
    response.map(|_| ResponseBody::tunnel(tunnel))
}

/// Passes on what the client sends, and its end.
async fn send(mut client: ClientBody, mut backend: WriteHalf<Backend>) {
    while let Some(Ok(frame)) = client.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if backend.write_all(&data).await.is_err() || backend.flush().await.is_err() {
            return;
        }
    }
    // A backend that is gone needs no word.
    let _ = backend.shutdown().await;
}

impl Tunnel {
    /// The next bytes; `None` when the tunnel is over.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let backend = match &mut self.backend {
            Some(backend) => backend,
            None => match ready!(Pin::new(&mut self.joining).poll(cx)) {
                Ok(backend) => self.backend.insert(backend),
                Err(_) => return Poll::Ready(None),
            },
        };
        self.input.reserve(READ_BYTES);
        match ready!(poll_read_buf(Pin::new(backend), cx, &mut self.input)) {
            Ok(1..) => Poll::Ready(Some(self.input.split().freeze())),
            // Either way nothing more comes, and there is nobody left to tell.
            Ok(0) | Err(_) => Poll::Ready(None),
        }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}
