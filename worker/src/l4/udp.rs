//! UDP: the datagrams of each client go to one endpoint, and its replies come back from the address that it asked.
//!
//! Each data thread has one socket per port and one [`engine::Engine`] for all of them. The kernel spreads clients over
//! the threads' sockets by a hash of the addresses, so a client's datagrams stay on one thread as long as the set of
//! sockets stays; [`share::UdpPort`] keeps it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::MissedTickBehavior;

use crate::thread::Thread;

mod choice;
mod dropped;
mod engine;
mod envelope;
mod flow;
mod flows;
mod inbox;
mod outbox;
mod port;
mod share;
mod syscalls;

pub(crate) use dropped::Dropped;
use engine::Engine;
pub(crate) use port::{Datagrams, tell_local_addresses};
pub(crate) use share::UdpPort;

/// How often idle flows are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);

/// The UDP of a thread; it takes no room before there is a UDP port.
#[derive(Debug, Default)]
pub(crate) struct Udp(RefCell<Option<Rc<RefCell<Engine>>>>);

impl Udp {
    /// Serves a port until it is closed.
    pub(crate) fn listen(&self, thread: &Rc<Thread>, datagrams: Datagrams) {
        let (bind_port, share) = (datagrams.bind_port, datagrams.share.clone());
        let listening = self.engine(thread).and_then(|engine| {
            let number = engine.borrow_mut().listen(thread, datagrams)?;
            Ok((engine, number))
        });
        let (engine, number) = match listening {
            Ok(listening) => listening,
            Err(error) => {
                tracing::error!(bind_port, %error, "a bound UDP port cannot be used");
                return;
            }
        };
        let thread = thread.clone();
        tokio::task::spawn_local(async move {
            share.closed().await;
            engine.borrow_mut().close(&thread, number);
        });
    }

    /// Ends all flows.
    pub(crate) fn shut_down(&self, thread: &Thread) {
        if let Some(engine) = self.0.take() {
            engine.borrow_mut().shut_down(thread);
        }
    }

    fn engine(&self, thread: &Rc<Thread>) -> std::io::Result<Rc<RefCell<Engine>>> {
        if let Some(engine) = &*self.0.borrow() {
            return Ok(engine.clone());
        }
        let engine = Engine::new(&thread.limits)?;
        let sockets = syscalls::watch(engine.epoll())?;
        let engine = Rc::new(RefCell::new(engine));
        tokio::task::spawn_local(run(engine.clone(), thread.clone(), sockets));
        *self.0.borrow_mut() = Some(engine.clone());
        Ok(engine)
    }
}

/// Runs the engine for ever: a turn whenever a socket has something, and other work of the thread between two turns.
async fn run(
    engine: Rc<RefCell<Engine>>,
    thread: Rc<Thread>,
    sockets: AsyncFd<Rc<std::os::fd::OwnedFd>>,
) {
    let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            readable = sockets.readable() => {
                // Only a runtime that is shutting down says otherwise.
                let Ok(mut readable) = readable else { return };
                if engine.borrow_mut().turn(&thread) {
                    readable.retain_ready();
                    tokio::task::yield_now().await;
                } else {
                    readable.clear_ready();
                }
            }
            _ = expiry.tick() => {
                while engine.borrow_mut().expire(&thread) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
