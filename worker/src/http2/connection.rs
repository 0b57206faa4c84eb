//! One HTTP/2 connection: streams are accepted until it ends, by either side's wish.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{self, Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::flow::Flow;
use super::pinger::{Found, Pinger};
use super::stream::{self, Shared};
use super::watched::Watched;
use super::window::Window;
use super::wire::Wire;
use crate::http::stack::Connection;
use crate::lane::Place;
use crate::limits::Limits;
use crate::listen::ended::Ended;
use crate::pressure::Level;
use crate::terms::Terms;
use crate::thread::Thread;
use crate::timer::Timer;

/// Bytes of a stream that wait to be written.
const SEND_BUFFER_BYTES_MAX: usize = 128 << 10;

/// How long requests wait for the slow lane after one that came with another.
const CROWDED_TIME: Duration = Duration::from_secs(1);

/// Time for a client without requests to take leave after GOAWAY; then the connection is closed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves a connection until it ends. After `stop` it ends with its requests.
pub(crate) async fn serve<I>(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    io: I,
    terms: Arc<Terms>,
    stop: &CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = &terms.limits;
    let flow = Rc::new(Flow::new(limits));
    let patience = limits.header_timeout;
    let wire = Wire::new(io, connection.tls);
    let own_wire = wire.clone();
    let watched = Watched::new(wire, flow.clone(), thread.lane.clone());
    let handshake = builder(limits).handshake(watched);
    let ended = match tokio::time::timeout(patience, handshake).await {
        Ok(Ok(h2)) => {
            let shared = Rc::new(Shared {
                thread: thread.clone(),
                connection: connection.clone(),
                terms,
                flow,
            });
            let mut client = Client::new(h2, own_wire, shared, stop);
            poll_fn(|cx| client.poll(cx)).await
        }
        Ok(Err(error)) => Err(End::of(error)),
        Err(_) => Err(End::of_reason(Ended::NoRequest)),
    };
    if let Err(End { reason, error }) = ended {
        tracing::debug!(client = %connection.client, error, "HTTP/2 ended early");
        if let Some(reason) = reason {
            thread.connection_ended(connection.bind_port, connection.client, reason);
        }
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(Window::new(limits.h2_stream_window_bytes_max).bytes())
        .initial_connection_window_size(limits.h2_connection_window_bytes)
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(limits.h2_resets_max)
        .max_local_error_reset_streams(Some(limits.h2_local_resets_max))
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .enable_connect_protocol();
    builder
}

/// A client's connection.
struct Client<I> {
    h2: server::Connection<Watched<Wire<I>>, Bytes>,
    wire: Wire<I>,
    shared: Rc<Shared>,
    place: Place,
    /// A request that waits until the slow lane lets it pass.
    waiting: Option<Accepted>,
    /// When a request last came with another one.
    crowded: Option<Instant>,
    pinger: Option<Pinger>,
    timer: Timer,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Since when the client has been told that no further stream is accepted.
    leaving: Option<Instant>,
    /// The bound that the client went beyond; all that is left is to tell it.
    excess: Option<Ended>,
}

/// A stream that has begun.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// How a connection ended that did not end well.
struct End {
    /// `None` where the client just went away.
    reason: Option<Ended>,
    error: String,
}

impl End {
    fn of(error: h2::Error) -> Self {
        Self {
            reason: Ended::of_h2(&error),
            error: error.to_string(),
        }
    }

    fn of_socket(error: &io::Error) -> Self {
        Self {
            reason: None,
            error: error.to_string(),
        }
    }

    fn of_reason(reason: Ended) -> Self {
        Self {
            reason: Some(reason),
            error: String::new(),
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Client<I> {
    fn new(
        mut h2: server::Connection<Watched<Wire<I>>, Bytes>,
        wire: Wire<I>,
        shared: Rc<Shared>,
        stop: &CancellationToken,
    ) -> Self {
        let limits = &shared.terms.limits;
        let pings = h2.ping_pong();
        wire.begin_turns();
        Self {
            pinger: pings.map(|pings| Pinger::new(pings, limits, Instant::now())),
            h2,
            wire,
            shared,
            place: Place::default(),
            waiting: None,
            crowded: None,
            timer: Timer::default(),
            stop: Box::pin(stop.clone().cancelled_owned()),
            leaving: None,
            excess: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if self.leaving.is_none() && self.stop.as_mut().poll(cx).is_ready() {
                self.leave();
            }
            if let Poll::Ready(ended) = self.poll_streams(cx) {
                let ended = ended.map_err(End::of);
                return Poll::Ready(self.excess.map_or(ended, |e| Err(End::of_reason(e))));
            }
            if let Poll::Ready(Err(error)) = self.wire.poll_end_turn(cx) {
                return Poll::Ready(Err(End::of_socket(&error)));
            }
            let now = Instant::now();
            if self.excess.is_none() && self.shared.flow.excess().is_some() {
                self.excess = self.shared.flow.excess();
                self.leaving.get_or_insert(now);
                self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if let Some(end) = self.look_after_path(now, cx) {
                return Poll::Ready(Err(end));
            }
            match self.look_after_time(now) {
                Some(until) if self.timer.poll_until(until, cx).is_pending() => {
                    return Poll::Pending;
                }
                Some(_) => {}
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Accepts streams: one that comes alone at once, those that come with another, or soon after such, as the slow lane
    /// allows. Ready when the connection has ended.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let mut is_alone = self.waiting.is_none();
        loop {
            let accepted = match self.waiting.take() {
                Some(waiting) => waiting,
                None => match ready!(self.h2.poll_accept(cx)) {
                    Some(accepted) => accepted?,
                    None => return Poll::Ready(Ok(())),
                },
            };
            if !is_alone {
                self.crowded = Some(Instant::now());
            }
            let lane = &self.shared.thread.lane;
            if !self.is_crowded() {
                lane.overtaken();
            } else if lane.poll_pass(&self.place, cx).is_pending() {
                self.waiting = Some(accepted);
                // What is open goes on meanwhile.
                return self.h2.poll_closed(cx);
            }
            is_alone = false;
            self.serve(accepted);
        }
    }

    fn is_crowded(&self) -> bool {
        self.crowded
            .is_some_and(|since| since.elapsed() < CROWDED_TIME)
    }

    fn serve(&mut self, (request, respond): Accepted) {
        self.shared.flow.request();
        let serving = stream::serve(self.shared.clone(), request, respond);
        // A task moves its future, and writes over all of it at its end.
        tokio::task::spawn_local(Box::pin(serving));
        if self.shared.thread.pressure.level() == Level::Hard {
            self.leave();
        }
    }

    /// Tells the client that no further stream is accepted; those that are open come to their end.
    fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now());
            self.shared.connection.closing.set(true);
            self.h2.graceful_shutdown();
        }
    }

    /// Pings the client; returns the end where it is gone.
    fn look_after_path(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<End> {
        let has_requests = self.shared.connection.unused_since().is_none();
        let pinger = self.pinger.as_mut()?;
        match pinger.poll(&self.shared.flow, has_requests, now, cx)? {
            // It fails while an earlier change is not acknowledged, which it is before a later ping is.
            Found::Wider(bytes) => drop(self.h2.set_initial_window_size(bytes)),
            Found::Silence => return Some(End::of_reason(Ended::H2Silent)),
        }
        None
    }

    /// When to look again at the latest; `None` where the connection is over.
    fn look_after_time(&mut self, now: Instant) -> Option<Instant> {
        let (limits, connection) = (&self.shared.terms.limits, &self.shared.connection);
        let Some(unused) = connection.unused_since() else {
            // Whenever the last request ends, its time is not over before that.
            let soon = now + limits.idle_timeout.min(limits.header_timeout);
            return Some(self.pinger.as_ref().map_or(soon, |p| p.due().min(soon)));
        };
        let (patience, ended) = if connection.has_served() {
            (limits.idle_timeout, Ended::Idle)
        } else {
            (limits.header_timeout, Ended::NoRequest)
        };
        match self.leaving {
            Some(leaving) => {
                let end = leaving.max(unused) + LEAVE_TIMEOUT;
                (now < end).then_some(end)
            }
            None if now < unused + patience => Some(unused + patience),
            None => {
                let (bind_port, client) = (connection.bind_port, connection.client);
                self.shared
                    .thread
                    .connection_ended(bind_port, client, ended);
                self.leave();
                // The word has still to be written.
                Some(now)
            }
        }
    }
}
