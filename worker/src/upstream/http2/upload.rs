//! The body of a request on its way to an endpoint, as far as that gives credit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::Body as _;

use crate::http::body::RequestBody;
use crate::http::client_body::RequestBodyError;

/// What is left to send of a request. Dropping it before its end resets the stream.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// What the endpoint has given no credit for yet, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

/// How an upload came to its end.
#[derive(Debug)]
pub(super) enum End {
    Whole,
    /// The endpoint takes no more; why, its answer tells.
    Stopped,
    /// The body broke off, and with it the stream.
    Broken(RequestBodyError),
}

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>, body: RequestBody) -> Self {
        Self {
            stream,
            body,
            waiting: None,
        }
    }

    /// Sends what there is, to the end.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.waiting.is_some() {
                if let Some(end) = ready!(self.poll_write(cx)) {
                    return Poll::Ready(end);
                }
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        let is_last = self.body.is_end_stream();
                        if !data.is_empty() || is_last {
                            self.stream.reserve_capacity(data.len());
                            self.waiting = Some((data, is_last));
                        }
                    }
                    Err(frame) => {
                        return Poll::Ready(self.end(frame.into_trailers().ok()));
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(End::Broken(error));
                }
                Poll::Ready(None) => return Poll::Ready(self.end(None)),
                Poll::Pending => return self.stream.poll_reset(cx).map(|_| End::Stopped),
            }
        }
    }

    /// Writes what waits; returns the end where it was that.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let Some((data, is_last)) = &mut self.waiting else {
            return Poll::Ready(None);
        };
        while !data.is_empty() {
            if self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    _ => return Poll::Ready(Some(End::Stopped)),
                }
            }
            let piece = data.split_to(self.stream.capacity().min(data.len()));
            let ends = *is_last && data.is_empty();
            if self.stream.send_data(piece, ends).is_err() {
                return Poll::Ready(Some(End::Stopped));
            }
            if ends {
                return Poll::Ready(Some(End::Whole));
            }
            self.stream.reserve_capacity(data.len());
        }
        let is_last = *is_last;
        self.waiting = None;
        Poll::Ready(is_last.then(|| self.end(None)))
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> End {
        let sent = match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        match sent {
            Ok(()) => End::Whole,
            Err(_) => End::Stopped,
        }
    }
}
