//! A client's socket with what was read ahead and what waits to be written, shared by the connection's loop
//! and the body of its present request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tidegate_codec::Refusal;
use tidegate_codec::http1::{Chunks, Framing, HeadBounds, HeadScan};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::content::Content;
use super::input::Input;
use super::output::Output;
use crate::http::pace::Pace;
use crate::lane::{Lane, Place};
use crate::limits::Limits;
use crate::listen::unsent::Unsent;

/// A client's socket, in plain text or with TLS.
pub(crate) type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Bytes of a body that nobody wants, for which its connection is kept; above, it is closed.
pub(super) const DISCARDED_BYTES_MAX: u64 = 256 << 10;

/// Bytes of further requests that are read while one is being answered.
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;

/// A connection's bytes in both directions.
#[derive(Debug)]
pub(super) struct Wire {
    io: Io,
    input: Input,
    pub(super) output: Output,
    /// What the kernel takes of answers.
    unsent: Unsent,
    received: Received,
    /// Counts requests, so that the body of an earlier one reads nothing of a later one.
    request: u64,
    /// The client sends nothing more.
    pub(super) ended: bool,
    /// The client waits for 100 before it sends the body.
    continue_wanted: bool,
    /// The answer has begun: what is written is its business.
    answering: bool,
    pace: Pace,
    lane: Lane,
    place: Place,
    /// Waits for the connection to leave HTTP.
    switching: Option<Waker>,
    /// Waits for the end of the body, to look after the client from then on.
    watcher: Option<Waker>,
}

/// What comes behind the head of the present request.
#[derive(Debug)]
enum Received {
    /// Its body; after the connection has left HTTP, bytes of another protocol.
    Body(Content),
    /// No body, but bytes of another protocol once the connection has switched to it.
    Switching,
    Broken(Refusal),
}

impl Wire {
    pub(super) fn new(io: Io, lane: Lane) -> Self {
        Self {
            io,
            input: Input::default(),
            output: Output::default(),
            unsent: Unsent::Few,
            received: Received::Body(Content::Ended),
            request: 0,
            ended: false,
            continue_wanted: false,
            answering: false,
            pace: Pace::default(),
            lane,
            place: Place::default(),
            switching: None,
            watcher: None,
        }
    }

    /// Ready when the next request may begin: at once, unless it came with the one before it; then as the slow lane allows.
    pub(super) fn poll_begin(&self, cx: &Context<'_>) -> Poll<()> {
        match self.input.bytes.is_empty() {
            true => {
                self.lane.overtaken();
                Poll::Ready(())
            }
            false => self.lane.poll_pass(&self.place, cx),
        }
    }

    /// The next head, as far as bytes are there.
    pub(super) fn take_head(
        &mut self,
        scan: &mut HeadScan,
        bounds: &HeadBounds,
    ) -> Result<Option<Bytes>, Refusal> {
        let end = scan.end(&self.input.bytes, bounds)?;
        Ok(end.map(|len| self.input.bytes.split_to(len).freeze()))
    }

    /// The body of another request begins; returns the number that reads it.
    pub(super) fn start_body(
        &mut self,
        framing: Framing,
        upgrades: bool,
        expects_continue: bool,
        limits: &Limits,
    ) -> u64 {
        self.request += 1;
        self.continue_wanted = expects_continue;
        self.answering = false;
        self.pace.begin(limits);
        self.received = match framing {
            Framing::Length(length) => Received::Body(Content::Length(length)),
            Framing::Chunked => {
                let chunks = Chunks::new(limits.header_bytes_max, limits.header_count_max);
                Received::Body(Content::Chunked(Box::new(chunks)))
            }
            Framing::None if upgrades => Received::Switching,
            Framing::None => Received::Body(Content::Ended),
        };
        self.request
    }

    /// The answer begins: it is too late for 100. Returns whether a next request can be found: not after a
    /// body that is not valid, that the client may not send any more, or of which too much is to come.
    pub(super) fn start_answer(&mut self, switches: bool) -> bool {
        self.answering = true;
        if matches!(self.received, Received::Switching) {
            self.received = Received::Body(match switches {
                true => Content::Raw,
                false => Content::Ended,
            });
        }
        if let Some(waker) = self.switching.take() {
            waker.wake();
        }
        let can_end = match self.received {
            Received::Broken(_) => false,
            Received::Body(Content::Length(left)) => left <= DISCARDED_BYTES_MAX,
            _ => true,
        };
        !std::mem::take(&mut self.continue_wanted) && can_end
    }

    /// Whoever has the present body reads nothing more of it; returns the number that does.
    pub(super) fn take_over_body(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    pub(super) fn has_whole_body(&self) -> bool {
        matches!(
            self.received,
            Received::Body(Content::Ended) | Received::Switching
        )
    }

    /// The length that is known of what is left of the body.
    pub(super) fn body_len(&self, request: u64) -> Option<u64> {
        match &self.received {
            _ if request != self.request => None,
            Received::Body(content) => content.len(),
            Received::Switching => Some(0),
            Received::Broken(_) => None,
        }
    }

    /// Gives memory back while the connection rests.
    pub(super) fn release(&mut self) {
        self.input.release();
        self.output.release();
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn poll_body(
        &mut self,
        request: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if request != self.request {
            return Poll::Ready(Some(Err(Refusal::BodyBrokenOff)));
        }
        loop {
            if let Some(frame) = self.take_frame() {
                // A client that has sent some of the body waits for nothing.
                self.continue_wanted = false;
                return Poll::Ready(Some(frame));
            }
            match self.received {
                Received::Body(Content::Ended) => return Poll::Ready(None),
                Received::Switching => {
                    self.switching = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                _ => {}
            }
            if self.ended {
                self.end_early();
                continue;
            }
            self.send_continue(cx);
            match self.poll_fill_more(cx) {
                Poll::Ready(Ok(len)) => self.pace.note(len),
                Poll::Ready(Err(_)) => self.ended = true,
                Poll::Pending if self.content_is_raw() => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.pace.poll_too_slow(cx));
                    self.received = Received::Broken(Refusal::BodyTooSlow);
                }
            }
        }
    }

    /// Reads what the client sends: the number of bytes, 0 when nothing more comes.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let len = ready!(self.input.poll_fill(Pin::new(&mut self.io), cx))?;
        self.ended |= len == 0;
        Poll::Ready(Ok(len))
    }

    /// Reads more of what has begun, as the slow lane allows.
    pub(super) fn poll_fill_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.lane.poll_pass(&self.place, cx));
        self.poll_fill(cx)
    }

    /// Looks after the client while others work: writes what waits, reads ahead. Ready when the client is gone.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            return Poll::Ready(());
        }
        while self.has_whole_body() && !self.ended && self.input.bytes.len() < READ_AHEAD_BYTES_MAX
        {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if !self.has_whole_body() {
            self.watcher = Some(cx.waker().clone());
        }
        Poll::Pending
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

    /// Writes something of what waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = ready!(self.output.poll_write(Pin::new(&mut self.io), cx))?;
        if self.unsent == Unsent::Few && self.output.is_taken() {
            self.unsent = Unsent::Many;
            self.unsent.apply(self.socket());
        }
        Poll::Ready(Ok(written))
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Reads and drops what the client sends: the number of bytes.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.bytes.clear();
        self.poll_fill(cx)
    }

    /// Closing the socket will tell the client that something went wrong, by a reset.
    pub(super) fn reset_at_end(&self) {
        // Without it the client sees an ordinary end: the best that is left.
        let _ = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    fn socket(&self) -> &TcpStream {
        match &self.io {
            Either::Left(socket) => socket,
            Either::Right(tls) => tls.get_ref().0,
        }
    }

    fn content_is_raw(&self) -> bool {
        matches!(self.received, Received::Body(Content::Raw))
    }

    /// What of the body is among the bytes that have been read.
    fn take_frame(&mut self) -> Option<Result<Frame<Bytes>, Refusal>> {
        let content = match &mut self.received {
            Received::Body(Content::Ended) | Received::Switching => return None,
            Received::Body(content) => content,
            Received::Broken(refusal) => return Some(Err(*refusal)),
        };
        match content.take(&mut self.input.bytes) {
            Ok(frame) => {
                if matches!(content, Content::Ended) {
                    self.end_body();
                }
                frame.map(Ok)
            }
            Err(refusal) => {
                self.received = Received::Broken(refusal);
                Some(Err(refusal))
            }
        }
    }

    fn end_body(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    fn end_early(&mut self) {
        self.received = if self.content_is_raw() {
            Received::Body(Content::Ended)
        } else {
            Received::Broken(Refusal::BodyBrokenOff)
        };
    }

    fn send_continue(&mut self, cx: &mut Context<'_>) {
        // Once there is an answer, whoever writes it looks after the socket; the body may be somebody else's.
        if self.answering {
            return;
        }
        if std::mem::take(&mut self.continue_wanted) {
            self.output
                .push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        if !self.output.is_empty() {
            // An error shows at the next read.
            let _ = self.poll_flush(cx);
        }
    }
}
