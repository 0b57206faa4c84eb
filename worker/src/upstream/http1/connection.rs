//! One connection to an endpoint: what is left to send of the present request, and to read of its answer.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use socket2::SockRef;
use tidegate_codec::Fault;
use tidegate_codec::http1::HeadBounds;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

use super::upload::Upload;
use crate::http1::{Content, Input, Output};
use crate::upstream::dial::Io;
use crate::upstream::failure::UpstreamError;
use crate::upstream::gate::Opened;

/// A connection and the exchange on it, if there is one.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    pub(super) bounds: HeadBounds,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) upload: Upload,
    /// What is left of the answer.
    pub(super) content: Content,
    /// Whether the backend takes another request after this one.
    pub(super) keep_alive: bool,
    /// Whether something of the request was written.
    pub(super) written: bool,
    /// Whether something was read since the request began.
    pub(super) heard: bool,
    /// What is read from now on means nothing.
    broken: bool,
    /// Sends the rest of a request whose answer has begun.
    pub(super) sending: Option<AbortOnDropHandle<()>>,
    _opened: Option<Opened>,
}

impl Connection {
    pub(crate) fn new(io: Io, bounds: HeadBounds, opened: Option<Opened>) -> Self {
        Self {
            io,
            bounds,
            input: Input::default(),
            output: Output::default(),
            upload: Upload::Done,
            content: Content::Ended,
            keep_alive: true,
            written: false,
            heard: false,
            broken: false,
            sending: None,
            _opened: opened,
        }
    }

    /// Whether both the request and its answer are complete, and another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.keep_alive
            && !self.broken
            && matches!(self.upload, Upload::Done)
            && matches!(self.content, Content::Ended)
            && self.input.bytes.is_empty()
    }

    /// Gives memory back while the connection rests.
    pub(crate) fn rest(&mut self) {
        self.input.release();
        self.output.release();
        self.sending = None;
    }

    /// Whether nothing came while the connection rested: neither its end nor bytes that nobody asked for. It costs
    /// no system call unless something did.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.io)
            .poll_read(&mut context, &mut buffer)
            .is_pending()
    }

    /// Whether the endpoint has closed it, as the kernel knows it at this moment.
    pub(super) fn is_closed_by_now(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match (SockRef::from(self.socket()).peek(&mut byte), &self.io) {
            (Err(error), _) => error.kind() != io::ErrorKind::WouldBlock,
            // A session ticket may have come.
            (Ok(1), Either::Right(_)) => false,
            (Ok(_), _) => true,
        }
    }

    /// Reads more: the number of bytes, 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let len = ready!(self.input.poll_fill(Pin::new(&mut self.io), cx))?;
        self.heard |= len > 0;
        Poll::Ready(Ok(len))
    }

    /// Writes until there is room for more.
    pub(super) fn poll_make_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output.is_full() {
            ready!(self.poll_write(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            ready!(self.poll_write(cx))?;
        }
        match &mut self.io {
            Either::Left(_) => Poll::Ready(Ok(())),
            // TLS keeps records back until then.
            Either::Right(io) => Pin::new(io).poll_flush(cx),
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        loop {
            if self.broken {
                return Poll::Ready(Some(Err(UpstreamError::BrokenOff(None))));
            }
            match self.content.take(&mut self.input.bytes) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if matches!(self.content, Content::Ended) => return Poll::Ready(None),
                Ok(None) => {}
                Err(refusal) => {
                    self.broken = true;
                    let error = UpstreamError::Invalid(Fault::from(refusal));
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                // A request that was broken off has shut the socket down: that is no end of an answer.
                Ok(0) if matches!(self.content, Content::Raw) && !self.broken => {
                    self.content = Content::Ended;
                }
                Ok(0) => self.broken = true,
                Err(error) => {
                    self.broken = true;
                    return Poll::Ready(Some(Err(UpstreamError::BrokenOff(Some(error)))));
                }
            }
        }
    }

    /// The request ends before its end: neither side may take what it got for the whole. Whoever waits for the
    /// answer is woken.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        // A socket that is closed already needs no word.
        let _ = SockRef::from(self.socket()).shutdown(Shutdown::Both);
    }

    /// Closing the socket will be a reset.
    pub(super) fn reset_at_end(&self) {
        // Without it the endpoint sees an ordinary end: the best that is left.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.output.poll_write(Pin::new(&mut self.io), cx))?;
        self.written = true;
        Poll::Ready(Ok(()))
    }

    fn socket(&self) -> &TcpStream {
        match &self.io {
            Either::Left(socket) => socket,
            Either::Right(tls) => tls.get_ref().0,
        }
    }
}
