//! The leader's answer on its way through another configd: one that breaks off ends with a status.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

/// A body that ends with UNAVAILABLE where the leader is lost or this configd stops.
pub(super) struct Relay {
    body: Body,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
}

impl Relay {
    pub(super) fn new(body: Body, end: CancellationToken) -> Self {
        Self {
            body,
            end: Box::pin(end.cancelled_owned()),
            is_over: false,
        }
    }

    fn last(&mut self, text: &str) -> Frame<Bytes> {
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        // A plain sentence always fits into a header.
        let _ = Status::unavailable(text).add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(_))) => {
                let last = self.last("the leader was lost; try again in a moment");
                Poll::Ready(Some(Ok(last)))
            }
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending if self.end.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Ok(self.last("configd is stopping"))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }
}
