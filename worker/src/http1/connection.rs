//! One HTTP/1 connection: head, answer, body, again and again.

mod end;
mod respond;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response, Version};
use tidegate_codec::Refusal;
use tidegate_codec::http1::{self, Framed, HeadBounds, HeadScan, RequestHead};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::body::Body;
use super::wire::{Io, Wire};
use crate::http::body::ResponseBody;
use crate::http::client_body::ClientBody;
use crate::http::interim::Interim;
use crate::http::stack::{self, Connection};
use crate::limits::Limits;
use crate::listen::ended::Ended;
use crate::terms::Terms;
use crate::thread::Thread;
use crate::timer::Timer;

/// How long a connection is unused before a drain closes it; a client that is about to send another request
/// gets its answer, and learns by it that the connection closes.
const DRAIN_UNUSED: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. After `stop` it ends with the present request, or soon.
pub(crate) async fn serve(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    io: Io,
    terms: Arc<Terms>,
    stop: CancellationToken,
) {
    let wire = Wire::new(io, thread.lane.clone());
    let mut client = Client {
        wire: Rc::new(RefCell::new(wire)),
        bounds: head_bounds(&terms.limits),
        terms,
        timer: Timer::default(),
        stop: Box::pin(stop.cancelled_owned()),
        stopped: None,
        rested_since: Instant::now(),
        served: false,
        interim: Interim::default(),
        thread,
        connection,
    };
    while let Next::Again = client.exchange().await {}
}

/// A client's connection between and during its requests.
struct Client {
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    wire: Rc<RefCell<Wire>>,
    /// Those of the present request.
    terms: Arc<Terms>,
    bounds: HeadBounds,
    timer: Timer,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    stopped: Option<Instant>,
    rested_since: Instant,
    /// Whether there has been a request.
    served: bool,
    /// What backends say before the present answer.
    interim: Interim,
}

/// How a connection goes on.
enum Next {
    Again,
    Over,
}

/// What came instead of a head.
enum NoHead {
    /// The client is gone, or was silent for too long.
    Over,
    Refused(Refusal),
}

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    is_head: bool,
    version: Version,
    keep_alive: bool,
}

/// Why an answer did not come to its end; there is nothing to be saved of its connection.
enum Broken {
    /// The client went away, or the answer itself broke off.
    Gone,
    /// The client takes nothing for too long.
    Stalled,
}

impl Client {
    async fn exchange(&mut self) -> Next {
        let head = match self.next_head().await {
            Ok(head) => head,
            Err(NoHead::Over) => return Next::Over,
            Err(NoHead::Refused(refusal)) => return self.refuse(refusal, false).await,
        };
        let is_head = head.starts_with(b"HEAD ");
        let head = match http1::parse(head) {
            Ok(head) => head,
            Err(refusal) => return self.refuse(refusal, is_head).await,
        };
        self.served = true;
        let asked = Asked {
            is_head: head.request.method() == Method::HEAD,
            version: head.request.version(),
            keep_alive: head.keep_alive,
        };
        let Some(response) = self.answer(head).await else {
            return Next::Over;
        };
        match self.respond(response, asked).await {
            Ok(true) => self.finish_body().await,
            Ok(false) => self.close().await,
            Err(_) => Next::Over,
        }
    }

    /// Takes over what a new snapshot says about clients.
    fn renew_terms(&mut self) {
        let serving = self.thread.serving();
        let terms = serving.serving.terms(self.connection.bind_port);
        if !Arc::ptr_eq(terms, &self.terms) {
            self.bounds = head_bounds(&terms.limits);
            self.terms = terms.clone();
        }
    }

    async fn next_head(&mut self) -> Result<Bytes, NoHead> {
        let mut scan = HeadScan::default();
        let mut begun: Option<Instant> = None;
        self.rested_since = Instant::now();
        poll_fn(|cx| self.wire.borrow().poll_begin(cx)).await;
        poll_fn(|cx| {
            loop {
                let mut wire = self.wire.borrow_mut();
                let head = wire.take_head(&mut scan, &self.bounds);
                if let Some(head) = head.map_err(NoHead::Refused)? {
                    return Poll::Ready(Ok(head));
                }
                let filled = match scan.is_at_start() {
                    true => wire.poll_fill(cx),
                    false => wire.poll_fill_more(cx),
                };
                match filled {
                    Poll::Ready(Ok(1..)) => {
                        drop(wire);
                        if scan.is_at_start() {
                            self.renew_terms();
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(NoHead::Over)),
                    Poll::Pending => {
                        let resting = scan.is_at_start();
                        if resting {
                            wire.release();
                        }
                        drop(wire);
                        if !resting {
                            begun.get_or_insert_with(Instant::now);
                        }
                        ready!(self.poll_patience(begun, cx));
                        return Poll::Ready(Err(match begun {
                            Some(_) => NoHead::Refused(Refusal::HeadTimeout),
                            None => {
                                self.note_silence();
                                NoHead::Over
                            }
                        }));
                    }
                }
            }
        })
        .await
    }

    /// Ready when a head that has begun, or the wait for one, took too long.
    fn poll_patience(&mut self, begun: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let limits = &self.terms.limits;
        let end = match begun {
            Some(begun) => begun + limits.header_timeout,
            None => {
                if self.stopped.is_none() && self.stop.as_mut().poll(cx).is_ready() {
                    self.stopped = Some(Instant::now());
                }
                let usual = if self.served {
                    limits.idle_timeout
                } else {
                    limits.header_timeout
                };
                let usual = self.rested_since + usual;
                let drain = self.stopped.map(|_| self.rested_since + DRAIN_UNUSED);
                drain.map_or(usual, |drain| drain.min(usual))
            }
        };
        self.timer.poll_until(end, cx)
    }

    /// No request has come in time; while the port is drained, that is as it should be.
    fn note_silence(&self) {
        if self.stopped.is_none() {
            self.note_end(if self.served {
                Ended::Idle
            } else {
                Ended::NoRequest
            });
        }
    }

    fn note_end(&self, ended: Ended) {
        let Connection {
            client, bind_port, ..
        } = *self.connection;
        self.thread.connection_ended(bind_port, client, ended);
    }

    /// Lets the stack answer; `None` when the client has gone away meanwhile.
    async fn answer(&mut self, head: RequestHead) -> Option<Response<ResponseBody>> {
        let RequestHead {
            request,
            framing,
            expects_continue,
            upgrades,
            ..
        } = head;
        // The same as those of the exchange that begins now.
        self.renew_terms();
        let number = {
            let mut wire = self.wire.borrow_mut();
            wire.start_body(framing, upgrades, expects_continue, &self.terms.limits)
        };
        let body = || Body {
            wire: self.wire.clone(),
            request: number,
        };
        let body = match framing {
            _ if upgrades => ClientBody::switching(body()),
            http1::Framing::None => ClientBody::empty(),
            http1::Framing::Length(_) | http1::Framing::Chunked => {
                ClientBody::of_http1(body(), &self.terms.limits)
            }
        };
        let request = Box::new(request.map(|()| body));
        let version = request.version();
        let (thread, connection) = (self.thread.clone(), self.connection.clone());
        let answering = stack::answer(thread, connection, request, self.interim.clone());
        // Boxed, so that a connection without a request has no room for one.
        let mut answering = Box::pin(answering);
        let mut half_closed: Option<Instant> = None;
        poll_fn(|cx| {
            let answered = answering.as_mut().poll(cx);
            self.write_interim(version);
            if let Poll::Ready(response) = answered {
                return Poll::Ready(Some(response));
            }
            let mut wire = self.wire.borrow_mut();
            if wire.poll_watch(cx).is_ready() {
                return Poll::Ready(None);
            }
            if wire.ended {
                let since = *half_closed.get_or_insert_with(Instant::now);
                ready!(
                    self.timer
                        .poll_until(since + self.terms.limits.half_closed_timeout, cx)
                );
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    /// Lets interim answers wait to be written; HTTP/1.0 has none (RFC 9110, section 15.2), and a client that reads none
    /// gets no more.
    fn write_interim(&self, version: Version) {
        while let Some(answer) = self.interim.pop() {
            let output = &mut self.wire.borrow_mut().output;
            if version == Version::HTTP_11 && !output.is_full() {
                let (status, headers) = (answer.status(), answer.headers());
                http1::response_head(output.tail(), status, headers, Framed::Bodiless, None);
            }
        }
    }

    async fn refuse(&mut self, refusal: Refusal, is_head: bool) -> Next {
        let response = stack::refuse(&self.thread, &self.connection, refusal);
        let asked = Asked {
            is_head,
            version: Version::HTTP_11,
            keep_alive: false,
        };
        match self.respond(response, asked).await {
            Ok(_) => self.close().await,
            Err(_) => Next::Over,
        }
    }
}

fn head_bounds(limits: &Limits) -> HeadBounds {
    HeadBounds {
        first_line_bytes_max: limits.request_line_bytes_max,
        header_bytes_max: limits.header_bytes_max,
        header_count_max: limits.header_count_max,
    }
}
