//! A stream that has left HTTP (RFC 8441).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::answer::Answer;
use super::stream::InUse;
use crate::upstream::failure::UpstreamError;

/// Bytes as the endpoint and the client send them; clones share the stream, one for each direction.
#[derive(Debug, Clone)]
pub(crate) struct Raw(Rc<Tunnel>);

/// A stream that is open both ways; it is reset where it is dropped before its end.
#[derive(Debug)]
struct Tunnel {
    sending: RefCell<SendStream<Bytes>>,
    receiving: RefCell<Answer>,
    _use: Rc<InUse>,
}

impl Raw {
    pub(super) fn new(sending: SendStream<Bytes>, receiving: Answer, in_use: Rc<InUse>) -> Self {
        Self(Rc::new(Tunnel {
            sending: RefCell::new(sending),
            receiving: RefCell::new(receiving),
            _use: in_use,
        }))
    }

    pub(in crate::upstream) fn poll_data(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        let frame = ready!(self.0.receiving.borrow_mut().poll_frame(cx));
        // Trailers have no place in a tunnel; its end follows them.
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
    }

    pub(in crate::upstream) async fn send(&self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            self.0.sending.borrow_mut().reserve_capacity(data.len());
            let credit = poll_fn(|cx| self.poll_credit(cx)).await?;
            let piece = data.split_to(credit.min(data.len()));
            let sent = self.0.sending.borrow_mut().send_data(piece, false);
            sent.map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub(in crate::upstream) fn reset(&self) {
        self.0.sending.borrow_mut().send_reset(Reason::CANCEL);
    }

    pub(in crate::upstream) fn shut_down(&self) -> io::Result<()> {
        let ended = self.0.sending.borrow_mut().send_data(Bytes::new(), true);
        ended.map_err(io::Error::other)
    }

    fn poll_credit(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut sending = self.0.sending.borrow_mut();
        loop {
            match sending.capacity() {
                0 => match ready!(sending.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                },
                credit => return Poll::Ready(Ok(credit)),
            }
        }
    }
}
