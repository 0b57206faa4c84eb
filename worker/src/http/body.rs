//! Bodies in flight: streamed, never gathered, save for the bounded copy that a mirror asks for.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::error::ProxyError;
use crate::http::client_body::{ClientBody, RequestBodyError};
use crate::http::exchange::Exchange;
use crate::http::grpc;
use crate::http::replay::ReplayedBody;
use crate::http::upgrade::Tunnel;
use crate::upstream::{self, Lease, UpstreamError};

/// A body on its way to a backend.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// No body.
    Empty,
    /// What the client sends, as it arrives.
    Streamed(Box<ClientBody>),
    /// What the client sends, with a copy for a mirror.
    Copied(Box<CopiedBody>),
    /// Bytes that have been gathered.
    Whole(Bytes),
    /// One attempt's view of a body that may be sent again.
    Replayed(Box<ReplayedBody>),
}

/// A streamed body that also gathers its bytes up to a bound.
#[derive(Debug)]
pub(crate) struct CopiedBody {
    incoming: ClientBody,
    copy: BytesMut,
    copy_bytes_max: usize,
    /// Gets the copy at the end of the body; dropped where the body is larger than the bound.
    whole: Option<oneshot::Sender<Bytes>>,
}

/// A body on its way to a client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    /// Completed when the body is dropped: the end of the exchange.
    exchange: Option<Box<Exchange>>,
    /// Goes back to its pool at the body's end; closed when the body is dropped before.
    lease: Option<Lease>,
    deadline: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    Streamed(upstream::Body),
    /// What a backend sends after it has left HTTP.
    Tunnel(Box<Tunnel>),
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the backend's response broke off")]
    Upstream(#[source] UpstreamError),
    #[error("the backend broke the connection off that has left HTTP")]
    Tunnel(#[source] UpstreamError),
    #[error("the request's timeout passed before the backend's response was complete")]
    Deadline,
}

impl RequestBody {
    /// The body of a client's request.
    pub(crate) fn of_client(incoming: ClientBody) -> Self {
        if incoming.is_end_stream() {
            Self::Empty
        } else {
            Self::Streamed(Box::new(incoming))
        }
    }

    /// Gathers the whole body within a bound; a body that has been gathered before is not read again.
    ///
    /// # Errors
    /// When it is larger than the bound, or broke off.
    pub(crate) async fn gather(&mut self, bytes_max: usize) -> Result<Bytes, ProxyError> {
        let too_large = || ProxyError::RequestBodyTooLarge { max: bytes_max };
        if self.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        if let Self::Whole(bytes) = self {
            return Ok(bytes.clone());
        }
        let mut gathered = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|error| error.refusal())?;
            if let Some(data) = frame.data_ref() {
                if gathered.len() + data.len() > bytes_max {
                    return Err(too_large());
                }
                gathered.extend_from_slice(data);
            }
        }
        let whole = gathered.freeze();
        *self = Self::Whole(whole.clone());
        Ok(whole)
    }

    /// The body of a request; its copy goes to the receiver once it is complete.
    pub(crate) fn copied(
        incoming: ClientBody,
        bytes_max: usize,
    ) -> (Self, oneshot::Receiver<Bytes>) {
        let (whole, receiver) = oneshot::channel();
        let body = CopiedBody {
            incoming,
            copy: BytesMut::new(),
            copy_bytes_max: bytes_max,
            whole: Some(whole),
        };
        (Self::Copied(Box::new(body)), receiver)
    }
}

impl CopiedBody {
    fn add(&mut self, data: &Bytes) {
        if self.copy.len() + data.len() > self.copy_bytes_max {
            self.whole = None;
            self.copy = BytesMut::new();
        }
        if self.whole.is_some() {
            self.copy.extend_from_slice(data);
        }
    }

    fn finish(&mut self) {
        if let Some(whole) = self.whole.take() {
            // Nobody waits where the mirror was given up meanwhile.
            let _ = whole.send(self.copy.split().freeze());
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(incoming) => Pin::new(&mut **incoming).poll_frame(cx),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Replayed(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Copied(body) => {
                let frame = ready!(Pin::new(&mut body.incoming).poll_frame(cx));
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    body.add(data);
                }
                if frame.is_none() || body.incoming.is_end_stream() {
                    body.finish();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(incoming) => incoming.is_end_stream(),
            Self::Copied(body) => body.incoming.is_end_stream(),
            Self::Replayed(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(incoming) => incoming.size_hint(),
            Self::Copied(body) => body.incoming.size_hint(),
            Self::Replayed(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl ResponseBody {
    /// A body that the worker itself wrote.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            source: Source::Whole(bytes.into()),
            exchange: None,
            lease: None,
            deadline: None,
        }
    }

    /// A backend's body; the connection that it comes by is free again at its end.
    pub(crate) fn streamed(
        incoming: upstream::Body,
        lease: Option<Lease>,
        deadline: Option<tokio::time::Instant>,
    ) -> Self {
        let mut body = Self {
            source: Source::Streamed(incoming),
            exchange: None,
            lease,
            deadline: None,
        };
        if body.is_end_stream() {
            body.release();
        } else {
            body.deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        }
        body
    }

    /// What a backend sends after it has left HTTP.
    pub(crate) fn tunnel(tunnel: Tunnel) -> Self {
        Self {
            source: Source::Tunnel(Box::new(tunnel)),
            exchange: None,
            lease: None,
            deadline: None,
        }
    }

    /// Ties the exchange's end to the body's.
    pub(crate) fn complete(mut self, exchange: Box<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// The client takes nothing for too long.
    pub(crate) fn stalled(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.record.reason = Some("client_stalled");
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        let frame = match &mut body.source {
            Source::Whole(bytes) if bytes.is_empty() => None,
            Source::Whole(bytes) => {
                let data = Frame::data(std::mem::take(bytes));
                body.count(&data);
                Some(Ok(data))
            }
            Source::Tunnel(tunnel) => match ready!(tunnel.poll_data(cx)) {
                None => None,
                Some(Ok(data)) => {
                    let data = Frame::data(data);
                    body.count(&data);
                    Some(Ok(data))
                }
                Some(Err(error)) => {
                    return Poll::Ready(Some(body.break_off(BodyError::Tunnel(error))));
                }
            },
            Source::Streamed(incoming) => match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(None) => None,
                Poll::Ready(Some(Ok(frame))) => {
                    body.count(&frame);
                    Some(Ok(frame))
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(body.break_off(BodyError::Upstream(error))));
                }
                Poll::Pending => {
                    let deadline = body.deadline.as_mut().map(|deadline| deadline.as_mut());
                    if deadline.is_some_and(|deadline| deadline.poll(cx).is_ready()) {
                        return Poll::Ready(Some(body.break_off(BodyError::Deadline)));
                    }
                    return Poll::Pending;
                }
            },
        };
        let is_last =
            |frame: &Result<Frame<Bytes>, BodyError>| frame.as_ref().is_ok_and(Frame::is_trailers);
        if frame.as_ref().is_none_or(is_last) || body.is_end_stream() {
            body.source = Source::Whole(Bytes::new());
            body.release();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Streamed(incoming) => incoming.is_end_stream(),
            Source::Tunnel(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Streamed(incoming) => incoming.size_hint(),
            Source::Tunnel(_) => SizeHint::default(),
        }
    }
}

impl ResponseBody {
    fn count(&mut self, frame: &Frame<Bytes>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            exchange.record.response_bytes += data.len() as u64;
        } else if let Some(trailers) = frame.trailers_ref() {
            exchange.record.notice_end(trailers);
        }
    }

    /// Ends the body before its time: gRPC clients learn why by trailers, others by an error.
    fn break_off(&mut self, error: BodyError) -> Result<Frame<Bytes>, BodyError> {
        self.lease = None;
        let Some(exchange) = &mut self.exchange else {
            return Err(error);
        };
        let (reason, code) = match &error {
            BodyError::Upstream(_) | BodyError::Tunnel(_) => {
                ("response_broken_off", grpc::Code::Unavailable)
            }
            BodyError::Deadline => ("request_timeout", grpc::Code::DeadlineExceeded),
        };
        exchange.record.reason = Some(reason);
        if !exchange.record.grpc {
            return Err(error);
        }
        exchange.record.grpc_failed = true;
        self.source = Source::Whole(Bytes::new());
        Ok(Frame::trailers(grpc::trailers(code, &error.to_string())))
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let broken_off = matches!(self.source, Source::Streamed(_)) && !self.is_end_stream();
        if let Some(exchange) = &mut self.exchange
            && broken_off
        {
            exchange.record.reason.get_or_insert("client_closed");
        }
    }
}
