//! One exchange on a shared connection: the request, and the head of its answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri, Version, header};
use http_body::Body as _;
use tidegate_codec::Fault;

use super::Usage;
use super::answer::Answer;
use crate::http::body::RequestBody;
use crate::http::client_body::RequestBodyError;
use crate::http::forward::Head;
use crate::http::interim::{self, Interim};
use crate::http::websocket;
use crate::http2::{End, Sending, Watch};
use crate::upstream::failure::{Failed, UpstreamError};

/// How long a connection that is new may take to say whether its endpoint knows WebSocket.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two looks at what it has said.
const SETTINGS_ROUND: Duration = Duration::from_millis(2);

/// A place for one exchange on a shared connection.
#[derive(Debug)]
pub(in crate::upstream) struct Stream {
    sender: SendRequest<Bytes>,
    in_use: Rc<InUse>,
}

/// A stream of a connection is taken, until this is dropped.
#[derive(Debug)]
pub(super) struct InUse(Rc<Usage>);

/// Headers whose values never come again.
const UNIQUE: [HeaderName; 2] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
];

/// A request on its way. Nobody waits for an endpoint but its client, so that there is no time that is too long.
type Upload = Sending<RequestBody, Unwatched>;

struct Unwatched;

impl Watch for Unwatched {}

impl Stream {
    pub(super) fn new(sender: SendRequest<Bytes>, usage: Rc<Usage>) -> Self {
        usage.streams.set(usage.streams.get() + 1);
        let in_use = Rc::new(InUse(usage));
        Self { sender, in_use }
    }

    /// Sends a request and waits for the head of its answer; interim answers go to `interim` meanwhile. The rest of a
    /// request whose answer has begun is sent while the answer is read.
    ///
    /// # Errors
    /// When there is none; the body comes back where nothing of the request was sent.
    pub(in crate::upstream) async fn send(
        &mut self,
        head: &Head,
        scheme: &'static str,
        body: RequestBody,
        interim: Option<&Interim>,
    ) -> Result<Response<Answer>, Failed> {
        if head.headers.contains_key(header::UPGRADE) {
            // Boxed, so that other requests have no room for it.
            return Box::pin(self.open_tunnel(head, scheme)).await;
        }
        let ends = body.is_end_stream();
        let request = request(head, scheme, &body);
        let (answer, stream) = match self.sender.send_request(request, ends) {
            Ok(sent) => sent,
            Err(error) => return Err((UpstreamError::Http2(error), Some(body))),
        };
        let mut awaited = Awaited {
            answer,
            upload: (!ends).then(|| Sending::new(stream, body, Unwatched)),
            interim_answers: 0,
            interim,
        };
        let answered = poll_fn(|cx| awaited.poll(cx)).await;
        let response = answered.map_err(|error| (error, None))?;
        if let Some(upload) = awaited.upload {
            send_rest(upload);
        }
        Ok(Answer::of(response))
    }

    /// Asks for the WebSocket that a request asks for. The answer is the one that HTTP/1 has for it.
    async fn open_tunnel(
        &mut self,
        head: &Head,
        scheme: &'static str,
    ) -> Result<Response<Answer>, Failed> {
        if !self.knows_websocket().await {
            return Err((UpstreamError::NoWebSocket, None));
        }
        let failed = |error| (UpstreamError::Http2(error), None);
        let mut request = request(head, scheme, &RequestBody::Whole(Bytes::new()));
        websocket::to_connect(&mut request);
        let (answer, sending) = self.sender.send_request(request, false).map_err(failed)?;
        let response = answer.await.map_err(failed)?;
        if !response.status().is_success() {
            return Ok(Answer::of(response));
        }
        let (mut parts, stream) = response.into_parts();
        websocket::from_answer(&mut parts, websocket::proof(&head.headers).as_deref());
        let response = Answer::of(Response::from_parts(parts, stream));
        Ok(response.map(|answer| answer.tunnels(sending, self.in_use.clone())))
    }

    /// Whether the endpoint says so (RFC 8441, section 3); a new connection waits for its word.
    async fn knows_websocket(&self) -> bool {
        let end = Instant::now() + SETTINGS_TIMEOUT;
        while !self.sender.is_extended_connect_protocol_enabled() {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(SETTINGS_ROUND).await;
        }
        true
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Usage { streams, since } = &*self.0;
        streams.set(streams.get().saturating_sub(1));
        if streams.get() == 0 {
            since.set(Instant::now());
        }
    }
}

/// An exchange whose answer has not begun.
struct Awaited<'i> {
    answer: ResponseFuture,
    /// The request, until all of it is sent.
    upload: Option<Upload>,
    interim_answers: usize,
    interim: Option<&'i Interim>,
}

impl Awaited<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, UpstreamError>> {
        if let Some(upload) = &mut self.upload
            && let Poll::Ready(end) = poll_upload(upload, cx)
        {
            if let Err(error) = end {
                return Poll::Ready(Err(UpstreamError::Request(error)));
            }
            self.upload = None;
        }
        while let Poll::Ready(Some(Ok(interim))) = self.answer.poll_informational(cx) {
            self.interim_answers += 1;
            if self.interim_answers > interim::ANSWERS_MAX {
                return Poll::Ready(Err(UpstreamError::Invalid(Fault::InterimAnswers)));
            }
            if let Some(queue) = self.interim {
                queue.push(interim);
            }
        }
        let answer = Pin::new(&mut self.answer).poll(cx);
        answer.map_err(UpstreamError::Http2)
    }
}

/// Sends the rest of a request whose answer has begun, so that it does not depend on who reads the answer. It ends with
/// the stream.
fn send_rest(mut upload: Upload) {
    tokio::task::spawn_local(async move {
        if let Err(error) = poll_fn(|cx| poll_upload(&mut upload, cx)).await {
            tracing::debug!(%error, "a request broke off after its answer had begun");
        }
    });
}

/// Sends what there is of a request. Where the endpoint takes no more of it, its answer tells why; a body that broke off
/// ends the stream.
fn poll_upload(upload: &mut Upload, cx: &mut Context<'_>) -> Poll<Result<(), RequestBodyError>> {
    let end = ready!(upload.poll_send(cx));
    Poll::Ready(match end {
        End::Broken(error) => {
            upload.stream.send_reset(Reason::CANCEL);
            Err(error)
        }
        End::Whole | End::Refused | End::Stalled => Ok(()),
    })
}

fn request(head: &Head, scheme: &'static str, body: &RequestBody) -> Request<()> {
    let mut headers = head.headers.clone();
    let host = headers.remove(header::HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    note_length(&head.method, body, &mut headers);
    for name in UNIQUE {
        if let Some(value) = headers.get_mut(name) {
            // Else each would push others out of the table of what both sides have seen (RFC 7541, section 6.2.3).
            value.set_sensitive(true);
        }
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri(scheme, authority, head.path_and_query.clone());
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

fn uri(scheme: &str, authority: Option<Authority>, path_and_query: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = authority.is_some().then_some(match scheme {
        "https" => Scheme::HTTPS,
        _ => Scheme::HTTP,
    });
    parts.authority = authority;
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).unwrap_or_default()
}

/// States a length that is known, as HTTP/1 does (RFC 9110, section 8.6): that of no content where content is expected.
fn note_length(method: &Method, body: &RequestBody, headers: &mut HeaderMap) {
    if let Some(length) = body.size_hint().exact()
        && (length > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(method))
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}
