//! The body of an endpoint's answer, whatever the version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::failure::UpstreamError;
use super::raw::Raw;
use super::{http1, http2};

/// What an endpoint sends after the head of its answer.
#[derive(Debug)]
pub(crate) enum Body {
    Http1(http1::Answer),
    Http2(http2::Answer),
}

impl Body {
    /// The connection or stream as it is, after the endpoint has agreed to leave HTTP; `None` where it has not.
    pub(crate) fn into_raw(self) -> Option<Raw> {
        match self {
            Self::Http1(answer) => answer.into_raw().map(Raw::Http1),
            Self::Http2(answer) => answer.into_raw().map(Raw::Http2),
        }
    }
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
            Self::Http2(answer) => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(answer) => answer.is_ended(),
            Self::Http2(answer) => answer.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(answer) => answer
                .len()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Http2(answer) => answer.size_hint(),
        }
    }
}
