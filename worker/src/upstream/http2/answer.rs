//! The body of an answer on a stream.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{Response, header};
use http_body::{Frame, SizeHint};

use super::raw::Raw;
use super::stream::InUse;
use crate::http::trailers::without_forbidden;
use crate::upstream::failure::UpstreamError;

/// What an endpoint sends behind the head of its answer; dropping it early resets the stream.
#[derive(Debug)]
pub(crate) struct Answer {
    stream: RecvStream,
    /// Bytes that are to come, where the head says so.
    left: Option<u64>,
    is_ended: bool,
    /// What is sent the other way, once the endpoint has agreed to leave HTTP.
    tunnel: Option<(SendStream<Bytes>, Rc<InUse>)>,
}

impl Answer {
    pub(super) fn of(response: Response<RecvStream>) -> Response<Self> {
        let (parts, stream) = response.into_parts();
        // The library has refused a length that is none, and refuses content that differs from it.
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let is_ended = stream.is_end_stream();
        let left = length.or_else(|| is_ended.then_some(0));
        let answer = Self {
            stream,
            left,
            is_ended,
            tunnel: None,
        };
        Response::from_parts(parts, answer)
    }

    /// The stream is a tunnel from now on.
    pub(super) fn tunnels(self, sending: SendStream<Bytes>, in_use: Rc<InUse>) -> Self {
        Self {
            left: None,
            tunnel: Some((sending, in_use)),
            ..self
        }
    }

    /// The stream as it is; `None` where the endpoint has not agreed to leave HTTP.
    pub(in crate::upstream) fn into_raw(mut self) -> Option<Raw> {
        let (sending, in_use) = self.tunnel.take()?;
        Some(Raw::new(sending, self, in_use))
    }

    /// The next piece. A reset without an error may follow an answer, but it is no end of one: that is END_STREAM alone
    /// (RFC 9113, section 8.1).
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        if let Some(data) = ready!(self.stream.poll_data(cx)) {
            return Poll::Ready(Some(self.take(data)));
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        self.is_ended = true;
        Poll::Ready(match trailers {
            Ok(trailers) => {
                trailers.map(|trailers| Ok(without_forbidden(Frame::trailers(trailers))))
            }
            Err(error) => Some(Err(UpstreamError::Http2(error))),
        })
    }

    fn take(&mut self, data: Result<Bytes, h2::Error>) -> Result<Frame<Bytes>, UpstreamError> {
        let data = data.map_err(|error| {
            self.is_ended = true;
            UpstreamError::Http2(error)
        })?;
        // It fails where the stream is gone, which the next piece tells.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        self.is_ended = self.stream.is_end_stream();
        Ok(Frame::data(data))
    }

    pub(in crate::upstream) fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
