//! The bodies that clients send, whatever the version of HTTP, within their bound.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tidegate_codec::Refusal;

use crate::error::ProxyError;
use crate::http1;
use crate::http2;
use crate::limits::Limits;

/// What a client sends after the head of its request.
#[derive(Debug)]
pub(crate) struct ClientBody {
    source: Source,
    /// Bytes that may still come.
    bytes_left: u64,
    /// The request has no body; what comes is of another protocol, once the connection or stream has left HTTP.
    switches: bool,
}

#[derive(Debug)]
enum Source {
    Empty,
    Http1(http1::Body),
    Http2(http2::Body),
}

/// Why a body on its way to a backend ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("{0}")]
    Refused(Refusal),
    #[error("another attempt sends the body")]
    Superseded,
}

impl ClientBody {
    pub(crate) fn empty() -> Self {
        Self::new(Source::Empty, None)
    }

    pub(crate) fn of_http1(body: http1::Body, limits: &Limits) -> Self {
        Self::new(Source::Http1(body), limits.request_body_bytes_max)
    }

    pub(crate) fn of_http2(body: http2::Body, limits: &Limits) -> Self {
        Self::new(Source::Http2(body), limits.request_body_bytes_max)
    }

    /// What the client sends after a change that its request asks for.
    pub(crate) fn switching(body: http1::Body) -> Self {
        Self::switching_source(Source::Http1(body))
    }

    /// The same on a stream of HTTP/2.
    pub(crate) fn switching_stream(body: http2::Body) -> Self {
        Self::switching_source(Source::Http2(body))
    }

    /// Whether it comes by HTTP/2.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.source, Source::Http2(_))
    }

    fn switching_source(source: Source) -> Self {
        Self {
            switches: true,
            ..Self::new(source, None)
        }
    }

    fn new(source: Source, bytes_max: Option<u64>) -> Self {
        Self {
            source,
            bytes_left: bytes_max.unwrap_or(u64::MAX),
            switches: false,
        }
    }

    /// What the client sends if the connection leaves HTTP; the request itself has no body then.
    pub(crate) fn take_tunnel(&mut self) -> Option<Self> {
        let switches = std::mem::take(&mut self.switches);
        switches.then(|| std::mem::replace(self, Self::empty()))
    }

    /// Refuses a body that says beforehand that it is above its bound.
    ///
    /// # Errors
    /// When it is.
    pub(crate) fn check_length(&self) -> Result<(), ProxyError> {
        if self.size_hint().lower() > self.bytes_left {
            return Err(ProxyError::Refused(Refusal::BodyTooLarge));
        }
        Ok(())
    }
}

impl RequestBodyError {
    /// What the client is answered.
    pub(crate) fn refusal(&self) -> ProxyError {
        ProxyError::Refused(match self {
            Self::Refused(refusal) => *refusal,
            Self::Superseded => Refusal::BodyBrokenOff,
        })
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if self.switches {
            return Poll::Ready(None);
        }
        let frame = match &mut self.source {
            Source::Empty => None,
            Source::Http1(body) => ready!(Pin::new(body).poll_frame(cx)),
            Source::Http2(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        let frame = frame.map(|frame| frame.map_err(RequestBodyError::Refused));
        if let Some(Ok(frame)) = &frame {
            let len = frame.data_ref().map_or(0, Bytes::len) as u64;
            match self.bytes_left.checked_sub(len) {
                Some(left) => self.bytes_left = left,
                None => {
                    let refused = RequestBodyError::Refused(Refusal::BodyTooLarge);
                    return Poll::Ready(Some(Err(refused)));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            _ if self.switches => true,
            Source::Empty => true,
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            _ if self.switches => SizeHint::with_exact(0),
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(body) => body.size_hint(),
            Source::Http2(body) => body.size_hint(),
        }
    }
}
