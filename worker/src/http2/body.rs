//! The body of a request: read when it is asked for, its credit given back as it goes.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use tidegate_codec::Refusal;

use super::flow::Flow;
use crate::http::pace::Pace;
use crate::http::trailers::without_forbidden;

/// A request's body.
#[derive(Debug)]
pub(crate) struct Body {
    stream: RecvStream,
    flow: Rc<Flow>,
    /// What is left of the length, where the client has told it; the library holds it to that.
    left: Option<u64>,
    /// `None` where the client may be silent: the stream has left HTTP.
    pace: Option<Pace>,
    has_data: bool,
}

impl Body {
    /// A body of this length, where it is known.
    pub(super) fn new(stream: RecvStream, length: Option<u64>, pace: Pace, flow: Rc<Flow>) -> Self {
        Self::with_pace(stream, length, Some(pace), flow)
    }

    /// What comes on a stream that has left HTTP.
    pub(super) fn raw(stream: RecvStream, flow: Rc<Flow>) -> Self {
        Self::with_pace(stream, None, None, flow)
    }

    fn with_pace(
        stream: RecvStream,
        length: Option<u64>,
        pace: Option<Pace>,
        flow: Rc<Flow>,
    ) -> Self {
        let left = if stream.is_end_stream() {
            Some(0)
        } else {
            length
        };
        Self {
            stream,
            flow,
            left,
            pace,
            has_data: true,
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refusal>>> {
        loop {
            let data = match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => data,
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Some(Err(Refusal::BodyBrokenOff)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let Some(pace) = &mut self.pace else {
                        return Poll::Pending;
                    };
                    ready!(pace.poll_too_slow(cx));
                    return Poll::Ready(Some(Err(Refusal::BodyTooSlow)));
                }
            };
            let len = data.len();
            // It fails where the stream has ended, and then nobody needs credit.
            let _ = self.stream.flow_control().release_capacity(len);
            self.flow.taken(len);
            if let Some(pace) = &mut self.pace {
                pace.note(len);
            }
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(len as u64);
            }
            // What carries nothing would end a body in chunks.
            if len > 0 {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let body = &mut *self;
        if body.has_data {
            match ready!(body.poll_data(cx)) {
                Some(data) => return Poll::Ready(Some(data.map(Frame::data))),
                None => body.has_data = false,
            }
        }
        Poll::Ready(match ready!(body.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|t| Ok(without_forbidden(Frame::trailers(t)))),
            Err(_) => Some(Err(Refusal::BodyBrokenOff)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
