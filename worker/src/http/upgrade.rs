//! Connections and streams that leave HTTP: from then on the bytes of both sides are passed on as they are.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tidegate_codec::Fault;
use tidegate_codec::http1::names_token;
use tidegate_ir::BackendProtocol;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::ProxyError;
use crate::http::body::ResponseBody;
use crate::http::client_body::ClientBody;
use crate::http::websocket;
use crate::thread::Open;
use crate::upstream::{self, Raw, UpstreamError};

/// A change of protocol that a client asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    client: ClientBody,
    protocol: HeaderValue,
}

/// What a backend sends after it has left HTTP.
pub(crate) struct Tunnel {
    backend: Raw,
    over: CancellationToken,
    is_over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Tells when the backend has said its last.
    ended: CancellationToken,
}

/// The bounds of a tunnel.
#[derive(Debug)]
pub(crate) struct TunnelEnd {
    /// Ends the tunnel at once.
    pub(crate) stop: CancellationToken,
    /// Time for one side's last bytes after the other's.
    pub(crate) half_closed_timeout: Duration,
}

/// Takes a tunnel's bytes from its client to its backend.
struct Upward {
    client: ClientBody,
    backend: Raw,
    over: CancellationToken,
    ended: CancellationToken,
    half_closed_timeout: Duration,
}

/// How a client's bytes came to their end.
enum ClientEnd {
    /// With its word, or because the backend takes no more.
    Ordinary,
    BrokenOff,
}

impl Wanted {
    /// The change that a request asks for, as far as this backend may be asked for it: by HTTP/2 for WebSocket alone.
    ///
    /// # Errors
    /// When a client asks on a stream, where there is no way on without the change.
    pub(crate) fn of(
        tunnel: Option<ClientBody>,
        headers: &HeaderMap,
        protocol: BackendProtocol,
    ) -> Result<Option<Self>, ProxyError> {
        let Some(client) = tunnel else {
            return Ok(None);
        };
        let is_known = |name: &HeaderValue| match protocol {
            BackendProtocol::Http1 => true,
            BackendProtocol::Http2 => websocket::is_named(name),
            BackendProtocol::Tcp | BackendProtocol::Udp => false,
        };
        let asked = match client.is_stream() {
            true => Some(HeaderValue::from_static(websocket::WEBSOCKET)),
            false => protocol_of(headers),
        };
        let protocol = asked.filter(is_known);
        if client.is_stream() && protocol.is_none() {
            return Err(ProxyError::Protocol);
        }
        Ok(protocol.map(|protocol| Self { client, protocol }))
    }

    /// Asks the backend for the same change.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }

    /// Answers 101 and passes bytes on: the client's by a task, the backend's as the body of the answer.
    pub(crate) fn tunnel(
        self,
        response: Response<upstream::Body>,
        open: Open,
        end: TunnelEnd,
    ) -> Response<ResponseBody> {
        let (parts, body) = response.into_parts();
        let Some(backend) = body.into_raw() else {
            // Nothing else comes with this answer.
            return Response::from_parts(parts, ResponseBody::whole(""));
        };
        let (over, ended) = (end.stop.child_token(), CancellationToken::new());
        let tunnel = Tunnel {
            backend: backend.clone(),
            over: over.clone(),
            is_over: Box::pin(over.clone().cancelled_owned()),
            ended: ended.clone(),
        };
        let upward = Upward {
            client: self.client,
            backend,
            over,
            ended,
            half_closed_timeout: end.half_closed_timeout,
        };
        tokio::task::spawn_local(async move {
            upward.run().await;
            drop(open);
        });
        Response::from_parts(parts, ResponseBody::tunnel(tunnel))
    }
}

/// The protocol that a request asks to change to (RFC 9110, section 7.8).
///
/// Another version of HTTP is not passed on: what came by it would be seen by no rule.
fn protocol_of(headers: &HeaderMap) -> Option<HeaderValue> {
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

/// Holds an answer against what was asked for.
#[derive(Debug)]
pub(crate) enum Expected {
    /// Nobody asked for a change.
    NoChange,
    /// The client sees to it itself.
    Change,
    /// WebSocket with this proof, which a client on a stream does not get to see.
    WebSocket(Option<String>),
}

impl Expected {
    pub(crate) fn of(wanted: Option<&Wanted>, sent: &HeaderMap) -> Self {
        match wanted {
            None => Self::NoChange,
            Some(wanted) if wanted.client.is_stream() => Self::WebSocket(websocket::proof(sent)),
            Some(_) => Self::Change,
        }
    }

    /// # Errors
    /// When the backend changes to another protocol unasked, or in another way than it was asked to.
    pub(crate) fn check<B>(&self, answer: &Response<B>) -> Result<(), ProxyError> {
        let checked = match self {
            Self::NoChange if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err(Fault::Switched)
            }
            Self::NoChange | Self::Change => Ok(()),
            Self::WebSocket(proof) => websocket::check(proof.as_deref(), answer),
        };
        checked.map_err(ProxyError::UpstreamFault)
    }
}

impl Upward {
    async fn run(mut self) {
        let _over = self.over.clone().drop_guard();
        // Nothing of a connection of HTTP/1 is read any more once its answer has ended.
        let patience = if self.client.is_stream() {
            self.half_closed_timeout
        } else {
            Duration::ZERO
        };
        let (ended, over) = (self.ended.clone(), self.over.clone());
        let too_late = async {
            ended.cancelled().await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            // First, so that a client that is gone is told from a tunnel that is over by that.
            biased;
            end = send(&mut self.client, &self.backend) => match end {
                ClientEnd::Ordinary => {}
                ClientEnd::BrokenOff => {
                    if !ended.is_cancelled() {
                        self.backend.reset_at_end();
                    }
                    return;
                }
            },
            () = too_late => return,
            () = over.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(self.half_closed_timeout) => {}
            () = ended.cancelled() => {}
            () = over.cancelled() => {}
        }
    }
}

/// Passes on what the client sends, and its end.
async fn send(client: &mut ClientBody, backend: &Raw) -> ClientEnd {
    while let Some(frame) = client.frame().await {
        let Ok(frame) = frame else {
            return ClientEnd::BrokenOff;
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if backend.send(data).await.is_err() {
            return ClientEnd::Ordinary;
        }
    }
    // A backend that is gone needs no word.
    let _ = backend.shut_down().await;
    ClientEnd::Ordinary
}

impl Tunnel {
    /// The next bytes; `None` when the tunnel is over.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        if self.is_over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let data = self.backend.poll_data(cx);
        if let Poll::Ready(None) = data {
            self.ended.cancel();
        }
        data
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if !self.ended.is_cancelled() {
            self.over.cancel();
        }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}
