//! Connections that leave HTTP: from then on the bytes of both sides are passed on as they are.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use tidegate_codec::http1::names_token;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::http::body::ResponseBody;
use crate::http::client_body::ClientBody;
use crate::thread::Open;
use crate::upstream::{self, Raw};

/// What a backend sends after it has left HTTP.
pub(crate) struct Tunnel {
    backend: Raw,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
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
    response: Response<upstream::Body>,
    open: Open,
    end: TunnelEnd,
) -> Response<ResponseBody> {
    let (parts, body) = response.into_parts();
    let Some(backend) = body.into_raw() else {
        // Only HTTP/1 has this answer.
        return Response::from_parts(parts, ResponseBody::whole(""));
    };
    let over = end.stop.child_token();
    let tunnel = Tunnel {
        backend: backend.clone(),
        over: Box::pin(over.clone().cancelled_owned()),
        _open: open,
    };
    tokio::task::spawn_local(async move {
        let _over = over.clone().drop_guard();
        tokio::select! {
            () = send(client, backend) => {}
            () = over.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(end.half_closed_timeout) => {}
            () = over.cancelled() => {}
        }
    });
    Response::from_parts(parts, ResponseBody::tunnel(tunnel))
}

/// Passes on what the client sends, and its end.
async fn send(mut client: ClientBody, backend: Raw) {
    while let Some(Ok(frame)) = client.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if backend.send(data).await.is_err() {
            return;
        }
    }
    // A backend that is gone needs no word.
    let _ = backend.shut_down().await;
}

impl Tunnel {
    /// The next bytes; `None` when the tunnel is over.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.backend.poll_data(cx)
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}
