//! HTTP/2 to endpoints, on the frames of the `h2` crate: connections that several exchanges share.

mod answer;
mod raw;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, SendRequest};

use super::balance::Transport;
use super::dial::{Io, dial};
use super::gate::Opened;
use super::pool::Place;
use crate::error::ProxyError;
use crate::http2::Wire;
use crate::limits::Limits;

pub(super) use answer::Answer;
pub(crate) use raw::Raw;
pub(super) use stream::Stream;

/// Connections of one endpoint and thread; further requests queue on them.
const CONNECTIONS_MAX: usize = 8;

/// Streams of one connection before another is opened: what servers usually allow at once.
const STREAMS_MAX: usize = 100;

/// Credit for all streams of a connection together, in bytes: large, so that slow readers do not starve others.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Credit for one stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// Bytes of a stream that wait to be written.
const SEND_BUFFER_BYTES_MAX: usize = 128 << 10;

/// The connections of one thread, by endpoint.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Arc<Limits>,
    places: RefCell<HashMap<Place, Vec<Multiplexed>>>,
}

#[derive(Debug)]
struct Multiplexed {
    sender: SendRequest<Bytes>,
    usage: Rc<Usage>,
}

/// How a connection is used.
#[derive(Debug)]
struct Usage {
    streams: Cell<usize>,
    /// When the last stream ended.
    since: Cell<Instant>,
}

impl Connections {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            places: RefCell::default(),
        }
    }

    /// Closes what has been unused for too long.
    pub(super) fn sweep(&self, oldest: Duration) {
        self.places.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|connection| {
                let usage = &connection.usage;
                let is_used = usage.streams.get() > 0 || usage.since.get().elapsed() < oldest;
                is_used && connection.is_open()
            });
            !connections.is_empty()
        });
    }

    /// A stream of a connection that has room for another, or of any where there are as many as may be.
    pub(super) fn share(&self, place: Place) -> Option<Stream> {
        let mut places = self.places.borrow_mut();
        let connections = places.get_mut(&place)?;
        let mut at = 0;
        while let Some(connection) = connections.get_mut(at) {
            if !connection.is_open() {
                connections.remove(at);
            } else if connection.has_room() {
                return Some(connection.stream());
            } else {
                at += 1;
            }
        }
        let is_full = connections.len() >= CONNECTIONS_MAX;
        is_full.then(|| busy_least(connections)).flatten()
    }

    /// A stream of any connection, for want of a better one.
    pub(super) fn least_busy(&self, place: Place) -> Option<Stream> {
        let mut places = self.places.borrow_mut();
        let connections = places.get_mut(&place)?;
        connections.retain_mut(Multiplexed::is_open);
        busy_least(connections)
    }

    /// # Errors
    /// When the endpoint does not accept a connection in time.
    pub(super) async fn open(
        &self,
        place: Place,
        transport: Transport<'_>,
        opened: Option<Opened>,
    ) -> Result<Stream, ProxyError> {
        let io = dial(place.0, b"", transport.tls, self.limits.connect_timeout).await?;
        let wire = Wire::new(io, transport.tls.is_some());
        // The first request goes out together with the preface.
        wire.begin_turns();
        let handshake = self.builder().handshake(wire.clone()).await;
        let (sender, connection) = handshake.map_err(|_| ProxyError::ConnectFailed)?;
        let usage = Rc::new(Usage {
            streams: Cell::new(0),
            since: Cell::new(Instant::now()),
        });
        let used = usage.clone();
        let driver = Driver { connection, wire };
        let running = run(opened, driver, move || used.streams.get() == 0);
        tokio::task::spawn_local(note_end(place, running));
        let connection = Multiplexed { sender, usage };
        let stream = connection.stream();
        let mut places = self.places.borrow_mut();
        let connections = places.entry(place).or_default();
        // Requests that dialled at the same time: the surplus connection ends with its streams.
        if connections.len() < CONNECTIONS_MAX {
            connections.push(connection);
        }
        Ok(stream)
    }

    fn builder(&self) -> client::Builder {
        let header_bytes = u32::try_from(self.limits.header_bytes_max).unwrap_or(u32::MAX);
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(header_bytes)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
            .enable_push(false);
        builder
    }
}

impl Multiplexed {
    /// Whether the endpoint takes further streams: false once it has said goodbye, or the connection has ended.
    fn is_open(&mut self) -> bool {
        // There is nothing to wait for: only a sender that has sent can be told to.
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether another stream begins at once, and the connection is not one of many streams already.
    fn has_room(&self) -> bool {
        self.usage.streams.get() < STREAMS_MAX.min(self.sender.current_max_send_streams())
    }

    fn stream(&self) -> Stream {
        Stream::new(self.sender.clone(), self.usage.clone())
    }
}

/// A connection, each of whose turns writes once.
struct Driver {
    connection: client::Connection<Wire<Io>>,
    wire: Wire<Io>,
}

impl Future for Driver {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = Pin::new(&mut self.connection).poll(cx);
        // The connection itself notices a socket that is gone, when it reads.
        let _ = self.wire.poll_end_turn(cx);
        ended
    }
}

/// Runs a connection to its end; an unused one makes room for those that wait where they are bounded.
async fn run(
    opened: Option<Opened>,
    driver: Driver,
    is_unused: impl Fn() -> bool,
) -> Result<(), h2::Error> {
    match &opened {
        None => driver.await,
        Some(opened) => {
            let ended = opened.gate().run(driver, is_unused).await;
            ended.unwrap_or(Ok(()))
        }
    }
}

async fn note_end(place: Place, running: impl Future<Output = Result<(), h2::Error>>) {
    if let Err(error) = running.await {
        tracing::debug!(address = %place.0, %error, "a connection to an endpoint ended early");
    }
}

fn busy_least(connections: &[Multiplexed]) -> Option<Stream> {
    let least = connections.iter().min_by_key(|c| c.usage.streams.get());
    least.map(Multiplexed::stream)
}
