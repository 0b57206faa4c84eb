//! Sending a body on a stream, in either direction, as far as the other side gives credit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body;

/// A body on its way. Dropping it before its end resets the stream.
#[derive(Debug)]
pub(crate) struct Sending<B, W> {
    pub(crate) stream: SendStream<Bytes>,
    pub(crate) body: B,
    watch: W,
    /// What the other side has given no credit for yet, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

/// What the two directions do differently.
pub(crate) trait Watch {
    /// Bytes of a frame, at most.
    fn piece_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// A piece of so many bytes goes out.
    fn sent(&mut self, _len: usize) {}

    /// The other side gives no credit: ready when it has given none for too long.
    fn poll_stalled(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// How a body came to its end.
#[derive(Debug)]
pub(crate) enum End<E> {
    Whole,
    /// The other side takes no more, or is gone.
    Refused,
    /// The other side has taken nothing for too long.
    Stalled,
    /// The body itself broke off; the stream is still open.
    Broken(E),
}

impl<B: Body<Data = Bytes> + Unpin, W: Watch> Sending<B, W> {
    pub(crate) fn new(stream: SendStream<Bytes>, body: B, watch: W) -> Self {
        Self {
            stream,
            body,
            watch,
            waiting: None,
        }
    }

    /// Sends what there is, to the end.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End<B::Error>> {
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
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(end_of(self.stream.send_trailers(trailers)));
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(End::Broken(error)),
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Pending => return self.stream.poll_reset(cx).map(|_| End::Refused),
            }
        }
    }

    /// Writes what waits; returns the end where it was that.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<End<B::Error>>> {
        let Some((data, is_last)) = &mut self.waiting else {
            return Poll::Ready(None);
        };
        while !data.is_empty() {
            if self.stream.capacity() == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(_) => return Poll::Ready(Some(End::Refused)),
                    Poll::Pending => {
                        ready!(self.watch.poll_stalled(cx));
                        return Poll::Ready(Some(End::Stalled));
                    }
                }
            }
            let most = self.watch.piece_bytes_max().min(self.stream.capacity());
            let piece = data.split_to(most.min(data.len()));
            self.watch.sent(piece.len());
            let ends = *is_last && data.is_empty();
            if self.stream.send_data(piece, ends).is_err() {
                return Poll::Ready(Some(End::Refused));
            }
            if ends {
                return Poll::Ready(Some(End::Whole));
            }
            if !data.is_empty() {
                self.stream.reserve_capacity(data.len());
            }
        }
        let is_last = *is_last;
        self.waiting = None;
        Poll::Ready(is_last.then(|| self.end()))
    }

    fn end(&mut self) -> End<B::Error> {
        end_of(self.stream.send_data(Bytes::new(), true))
    }
}

fn end_of<E>(sent: Result<(), h2::Error>) -> End<E> {
    match sent {
        Ok(()) => End::Whole,
        Err(_) => End::Refused,
    }
}
