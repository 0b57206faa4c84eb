//! One request on a stream, and its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body as _;

use super::body::Body;
use super::flow::Flow;
use super::sending::{End, Sending, Watch};
use crate::http::body::{BodyError, ResponseBody};
use crate::http::client_body::ClientBody;
use crate::http::interim::Interim;
use crate::http::pace::Pace;
use crate::http::{filter, stack, websocket};
use crate::limits::Limits;
use crate::terms::Terms;
use crate::thread::Thread;
use crate::timer::Timer;

/// Bytes that fill a record of TLS together with the head of their frame (RFC 8446, section 5.1): a frame of 16 KiB
/// would take a second record for its last nine bytes.
const RECORD_PIECE_BYTES: usize = (16 << 10) - 9;

/// What all streams of a connection share.
pub(super) struct Shared {
    pub(super) thread: Rc<Thread>,
    pub(super) connection: Rc<stack::Connection>,
    /// Those that the connection began with; requests have the present ones.
    pub(super) terms: Arc<Terms>,
    pub(super) flow: Rc<Flow>,
}

/// Serves a request.
pub(super) async fn serve(
    shared: Rc<Shared>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let is_head = request.method() == Method::HEAD;
    let terms = shared.thread.terms(shared.connection.bind_port);
    let request = Box::new(shared.take(request, &terms.limits));
    let Some(response) = shared.answer(request, &mut respond).await else {
        return shared.flow.cancelled();
    };
    let (mut parts, body) = response.into_parts();
    let ends = shared.prepare(&mut parts, &body, is_head);
    // It fails where the client has reset the stream meanwhile.
    let Ok(stream) = respond.send_response(Response::from_parts(parts, ()), ends) else {
        return;
    };
    if !ends {
        let stall_timeout = terms.limits.write_stall_timeout;
        shared.send(stream, body, stall_timeout).await;
    }
}

impl Shared {
    /// The request as the stack takes it.
    fn take(&self, request: Request<RecvStream>, limits: &Limits) -> Request<ClientBody> {
        let is_websocket = websocket::is_asked(&request);
        let (mut parts, stream) = request.into_parts();
        if is_websocket {
            websocket::to_upgrade(&mut parts, self.thread.random_bits());
            let body = Body::raw(stream, self.flow.clone());
            return Request::from_parts(parts, ClientBody::switching_stream(body));
        }
        let length = length(&parts.headers);
        let mut pace = Pace::default();
        pace.begin(limits);
        let body = Body::new(stream, length, pace, self.flow.clone());
        Request::from_parts(parts, ClientBody::of_http2(body, limits))
    }

    /// Lets the stack answer; `None` when the client has reset the stream meanwhile. A request that came together
    /// with its reset is not begun: it costs no backend anything.
    async fn answer(
        &self,
        request: Box<Request<ClientBody>>,
        respond: &mut SendResponse<Bytes>,
    ) -> Option<Response<ResponseBody>> {
        let interim = Interim::default();
        let (thread, connection) = (self.thread.clone(), self.connection.clone());
        let answering = stack::answer(thread, connection, request, interim.clone());
        let mut answering = pin!(answering);
        let mut is_begun = false;
        let answered = poll_fn(|cx| {
            if !std::mem::replace(&mut is_begun, true) && respond.poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            let answered = answering.as_mut().poll(cx);
            while let Some(answer) = interim.pop() {
                // It fails where the client has reset the stream meanwhile.
                let _ = respond.send_informational(answer);
            }
            if answered.is_ready() {
                return answered.map(Some);
            }
            respond.poll_reset(cx).map(|_| None)
        })
        .await;
        if answered.is_none() {
            self.make_way().await;
        }
        answered
    }

    /// What a client leaves behind is put away as the slow lane allows: hundreds of requests may end in the same moment.
    async fn make_way(&self) {
        self.thread.lane.pass().await;
    }

    /// Completes a head; returns whether the answer ends with it.
    fn prepare(&self, parts: &mut response::Parts, body: &ResponseBody, is_head: bool) -> bool {
        websocket::to_answer(parts);
        let headers = &mut parts.headers;
        filter::remove_connection_headers(headers);
        if !headers.contains_key(header::DATE) {
            headers.insert(header::DATE, self.thread.date());
        }
        let never_has_body =
            [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&parts.status);
        let length = body.size_hint().exact();
        if let Some(length @ 1..) = length
            && !never_has_body
            && !headers.contains_key(header::CONTENT_LENGTH)
        {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        is_head || never_has_body || body.is_end_stream()
    }

    /// Writes the body as it comes, as far as the client gives credit.
    async fn send(&self, stream: SendStream<Bytes>, body: ResponseBody, stall_timeout: Duration) {
        let watch = ClientWatch {
            shared: self,
            stall_timeout,
            stalled: None,
            timer: Timer::default(),
        };
        let mut sending = Sending::new(stream, body, watch);
        match poll_fn(|cx| sending.poll_send(cx)).await {
            End::Whole => {}
            End::Refused => self.make_way().await,
            End::Broken(error) => {
                let client = self.connection.client;
                tracing::debug!(%client, %error, "an answer broke off");
                sending.stream.send_reset(reason_of(&error));
            }
            End::Stalled => {
                sending.body.stalled();
                sending.stream.send_reset(Reason::CANCEL);
            }
        }
    }
}

/// Looks after a client that an answer is sent to.
struct ClientWatch<'s> {
    shared: &'s Shared,
    stall_timeout: Duration,
    stalled: Option<Instant>,
    timer: Timer,
}

impl Watch for ClientWatch<'_> {
    fn piece_bytes_max(&self) -> usize {
        match self.shared.connection.tls {
            true => RECORD_PIECE_BYTES,
            false => usize::MAX,
        }
    }

    fn sent(&mut self, len: usize) {
        self.stalled = None;
        self.shared.flow.sent(len);
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        self.timer.poll_until(since + self.stall_timeout, cx)
    }
}

/// What a client is told of an answer that broke off (RFC 8441, section 5, for one that has left HTTP).
fn reason_of(error: &BodyError) -> Reason {
    match error {
        BodyError::Tunnel(_) => Reason::CANCEL,
        BodyError::Upstream(_) | BodyError::Deadline => Reason::INTERNAL_ERROR,
    }
}

/// The length that a client tells; the library has refused what is none.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
