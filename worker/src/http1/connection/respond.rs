//! Writing an answer: its head, its body as it comes, and its end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode, Version};
use http_body::Body as _;
use tidegate_codec::http1::{self, Framed};

use super::{Asked, Broken, Client};
use crate::http::body::{BodyError, ResponseBody};
use crate::listen::ended::Ended;
use crate::pressure::Level;

/// Bytes of an answer that are passed on before other connections have their turn.
const BYTES_OF_A_TURN: usize = 256 << 10;

impl Client {
    /// Writes the answer; returns whether the connection may serve another request.
    pub(super) async fn respond(
        &mut self,
        response: Response<ResponseBody>,
        asked: Asked,
    ) -> Result<bool, Broken> {
        let (mut parts, body) = response.into_parts();
        let length = body.size_hint().exact();
        let framed = Framed::of_response(parts.status, asked.is_head, asked.version, length);
        if asked.is_head
            && let Some(length @ 1..) = length
            && parts.status != StatusCode::NO_CONTENT
        {
            parts
                .headers
                .entry(header::CONTENT_LENGTH)
                .or_insert(length.into());
        }
        if !parts.headers.contains_key(header::DATE) {
            parts.headers.insert(header::DATE, self.thread.date());
        }
        let can_continue = self
            .wire
            .borrow_mut()
            .start_answer(framed == Framed::Switched);
        let is_closing = self.thread.pressure.level() == Level::Hard
            || self.stopped.is_some()
            || self.connection.closing.get()
            || self.stop_is_wanted();
        let persists = asked.keep_alive && can_continue && framed != Framed::Close && !is_closing;
        let connection = match framed {
            Framed::Switched => Some("upgrade"),
            _ if !persists => Some("close"),
            _ if asked.version == Version::HTTP_10 => Some("keep-alive"),
            _ => None,
        };
        {
            let mut wire = self.wire.borrow_mut();
            http1::response_head(
                wire.output.tail(),
                parts.status,
                &parts.headers,
                framed,
                connection,
            );
        }
        let body = Some(body).filter(|_| framed != Framed::Bodiless);
        let sent = self.send(body, framed).await;
        if sent.is_err() && matches!(framed, Framed::Close | Framed::Switched) {
            self.wire.borrow().reset_at_end();
        }
        sent?;
        Ok(persists && framed != Framed::Switched)
    }

    fn stop_is_wanted(&mut self) -> bool {
        self.stop
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    /// Writes what waits, then the body as it comes.
    async fn send(&mut self, body: Option<ResponseBody>, framed: Framed) -> Result<(), Broken> {
        let mut body = pin!(body);
        let mut yielded = false;
        let mut stalled_since: Option<Instant> = None;
        let sent = poll_fn(|cx| {
            let mut passed_on = 0;
            loop {
                let is_full = self.wire.borrow().output.is_full();
                if is_full || body.is_none() {
                    ready!(self.poll_drain(body.is_none(), &mut stalled_since, cx))?;
                    if body.is_none() {
                        return Poll::Ready(Ok(()));
                    }
                }
                let Some(present) = body.as_mut().as_pin_mut() else {
                    continue;
                };
                match present.poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => {
                            passed_on += data.len();
                            self.encode(data, framed);
                            if passed_on >= BYTES_OF_A_TURN {
                                cx.waker().wake_by_ref();
                                return Poll::Pending;
                            }
                        }
                        Err(trailers) => {
                            self.encode_end(trailers.trailers_ref(), framed);
                            body.set(None);
                        }
                    },
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(self.break_off(&error, cx));
                    }
                    Poll::Ready(None) => {
                        self.encode_end(None, framed);
                        body.set(None);
                    }
                    Poll::Pending if !std::mem::replace(&mut yielded, true) => {
                        // The body's beginning often comes a moment after its head: one write for both.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending => return self.poll_idle_send(framed, &mut stalled_since, cx),
                }
            }
        })
        .await;
        if let (Err(Broken::Stalled), Some(body)) = (&sent, body.as_pin_mut()) {
            body.get_mut().stalled();
        }
        sent
    }

    /// Writes until there is room, or nothing is left; an error when the client reads nothing for too long.
    fn poll_drain(
        &mut self,
        all: bool,
        stalled_since: &mut Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let mut wire = self.wire.borrow_mut();
        loop {
            let is_done = if all {
                wire.output.is_empty()
            } else {
                !wire.output.is_full()
            };
            if is_done && !all {
                return Poll::Ready(Ok(()));
            }
            let polled = if is_done {
                wire.poll_flush(cx).map_ok(|()| 0)
            } else {
                wire.poll_write(cx)
            };
            match polled {
                Poll::Ready(Ok(_)) => *stalled_since = None,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Gone)),
                Poll::Pending => {
                    let since = *stalled_since.get_or_insert_with(Instant::now);
                    let end = since + self.terms.limits.write_stall_timeout;
                    ready!(self.timer.poll_until(end, cx));
                    self.note_end(Ended::WriteStalled);
                    return Poll::Ready(Err(Broken::Stalled));
                }
            }
            if is_done {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The backend has nothing at present: writes what there is, and looks after the client.
    fn poll_idle_send(
        &mut self,
        framed: Framed,
        stalled_since: &mut Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        ready!(self.poll_drain(true, stalled_since, cx))?;
        // What a client sends after it has left HTTP is read by others.
        if framed == Framed::Switched {
            return Poll::Pending;
        }
        ready!(self.wire.borrow_mut().poll_watch(cx));
        Poll::Ready(Err(Broken::Gone))
    }

    fn encode(&self, data: Bytes, framed: Framed) {
        let output = &mut self.wire.borrow_mut().output;
        if framed == Framed::Chunked {
            output.push_chunk(data);
        } else {
            output.push(data);
        }
    }

    fn encode_end(&self, trailers: Option<&HeaderMap>, framed: Framed) {
        if framed == Framed::Chunked {
            http1::trailers(self.wire.borrow_mut().output.tail(), trailers);
        }
    }

    /// The client must not take what it got for the whole: what waits is written, the end never comes.
    fn break_off(&self, error: &BodyError, cx: &mut Context<'_>) -> Result<(), Broken> {
        tracing::debug!(client = %self.connection.client, %error, "an answer broke off");
        // What does not fit now is lost with the rest.
        let _ = self.wire.borrow_mut().poll_flush(cx);
        Err(Broken::Gone)
    }
}
