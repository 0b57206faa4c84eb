//! Passes the bytes of two connections on to each other, in one task, until both have ended.

mod buffers;
mod direction;
mod pipe;
mod pools;
mod quiet;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_util::either::Either;

use direction::{Broken, Direction};
pub(crate) use pools::Pools;
use quiet::Quiet;

use crate::timer::Timer;

/// A side: a socket, or TLS on one.
pub(crate) type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Bytes that were passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) to_backend: u64,
    pub(crate) to_client: u64,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides said their last.
    Closed,
    /// The client broke off; the backend was told by a reset.
    ClientReset,
    /// The backend broke off; the client was told by a reset.
    BackendReset,
    /// Nothing was passed on for too long; both were told by a reset.
    Idle,
}

/// How long a relay may be quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) idle: Duration,
    /// After one side has said its last.
    pub(crate) half_closed: Duration,
}

/// Two connections that get each other's bytes. Dropping it closes both.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Io,
    backend: Io,
    up: Direction,
    down: Direction,
    quiet: Quiet,
    timer: Timer,
    pools: Rc<Pools>,
}

impl Relay {
    pub(crate) fn new(client: Io, backend: Io, patience: Patience, pools: Rc<Pools>) -> Self {
        Self {
            client,
            backend,
            up: Direction::default(),
            down: Direction::default(),
            quiet: Quiet::new(patience, Instant::now()),
            timer: Timer::default(),
            pools,
        }
    }

    /// Runs to the end; `note` is told now and then what has been passed on since it was last told.
    pub(crate) async fn run(mut self, mut note: impl FnMut(Passed)) -> End {
        let mut noted = Passed::default();
        let end = poll_fn(|cx| {
            let polled = self.poll(cx);
            let passed = self.passed();
            if passed != noted {
                note(Passed {
                    to_backend: passed.to_backend - noted.to_backend,
                    to_client: passed.to_client - noted.to_client,
                });
                noted = passed;
            }
            polled
        })
        .await;
        if end != End::Closed {
            reset(&self.client);
            reset(&self.backend);
        }
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let (client, backend) = (&mut self.client, &mut self.backend);
        let up = self.up.poll(client, backend, &self.pools, cx);
        match up {
            Poll::Ready(Err(Broken::From)) => return Poll::Ready(End::ClientReset),
            Poll::Ready(Err(Broken::To)) => return Poll::Ready(End::BackendReset),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let down = self.down.poll(backend, client, &self.pools, cx);
        match down {
            Poll::Ready(Err(Broken::From)) => return Poll::Ready(End::BackendReset),
            Poll::Ready(Err(Broken::To)) => return Poll::Ready(End::ClientReset),
            Poll::Ready(Ok(())) if up.is_ready() => return Poll::Ready(End::Closed),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if (up.is_ready() || down.is_ready()) && !self.quiet.is_half_closed() {
            self.quiet.half_closed(Instant::now());
        }
        while self.timer.poll_until(self.quiet.next(), cx).is_ready() {
            let moved = self.up.passed + self.down.passed;
            if self.quiet.look(Instant::now(), moved) {
                return Poll::Ready(End::Idle);
            }
        }
        Poll::Pending
    }

    fn passed(&self) -> Passed {
        Passed {
            to_backend: self.up.passed,
            to_client: self.down.passed,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.up.release(&self.pools);
        self.down.release(&self.pools);
    }
}

/// Closing the side will tell its peer that something went wrong, by a reset.
pub(crate) fn reset(side: &Io) {
    // Without it the peer sees an ordinary end: the best that is left.
    let _ = socket2::SockRef::from(socket(side)).set_linger(Some(Duration::ZERO));
}

/// The socket of a side.
pub(crate) fn socket(side: &Io) -> &TcpStream {
    match side {
        Either::Left(socket) => socket,
        Either::Right(tls) => tls.get_ref().0,
    }
}

#[cfg(test)]
mod tests;
