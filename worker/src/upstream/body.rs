//! The body of an endpoint's answer, whatever the version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::failure::UpstreamError;
use super::http1::{Answer, Raw};
use crate::http::trailers::without_forbidden;

/// What an endpoint sends after the head of its answer.
#[derive(Debug)]
pub(crate) enum Body {
    Http1(Answer),
    Http2(Incoming),
}

impl Body {
    /// The connection as it is, after the endpoint has agreed to leave HTTP; `None` where it has not.
    pub(crate) fn into_raw(self) -> Option<Raw> {
        match self {
            Self::Http1(answer) => answer.into_raw(),
            Self::Http2(_) => None,
        }
    }
}

/// The next piece of an answer by HTTP/2. A reset without an error may follow an answer, but it is no end of one: that
/// is END_STREAM alone (RFC 9113, section 8.1).
fn poll_stream(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
    let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
    Poll::Ready(match frame {
        Some(Ok(frame)) => Some(Ok(without_forbidden(frame))),
        Some(Err(error)) => Some(Err(UpstreamError::Http2(error))),
        None if incoming.is_end_stream() => None,
        None => Some(Err(UpstreamError::BrokenOff(None))),
    })
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self.get_mut() {
            Self::Http1(answer) => answer.poll_frame(cx),
            Self::Http2(incoming) => poll_stream(incoming, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(answer) => answer.is_ended(),
            Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(answer) => answer
                .len()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Http2(incoming) => incoming.size_hint(),
        }
    }
}
