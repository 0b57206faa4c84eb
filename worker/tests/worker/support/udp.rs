//! UDP backends and clients, and the parts of a snapshot that lead from one to the other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_ir::*;
use tokio::net::UdpSocket;

use super::parts::{attachment, backend_of, listener_at};

/// How long an answer is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is waited for that must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// A backend that answers each datagram with its name and the datagram; dropping it closes its socket.
pub struct UdpEcho {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<(SocketAddr, usize)>>>,
    answering: tokio::task::AbortHandle,
}

impl UdpEcho {
    pub async fn start(name: &str) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), name, true).await
    }

    /// One that never answers.
    pub async fn silent() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), "", false).await
    }

    pub async fn start_at(address: SocketAddr, name: &str, answers: bool) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (name, seen) = (name.to_owned(), Arc::<Mutex<Vec<_>>>::default());
        let sees = seen.clone();
        let answering = tokio::task::spawn(async move {
            let mut buffer = vec![0; 65_536];
            loop {
                // A client that is gone already is no reason to stop.
                let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
                    continue;
                };
                sees.lock().unwrap().push((from, len));
                if answers {
                    let answer = [name.as_bytes(), &buffer[..len]].concat();
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        let answering = answering.abort_handle();
        Self {
            address,
            seen,
            answering,
        }
    }

    /// Datagrams so far.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Different senders so far: each flow is one.
    pub fn flows(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .map(|(from, _)| from)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Waits until so many datagrams have come.
    pub async fn has_seen(&self, count: usize) {
        for _ in 0..1000 {
            if self.count() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {count} datagrams came", self.count());
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// A client with a socket of its own; it hears only whom it has asked.
pub struct UdpClient(UdpSocket);

impl UdpClient {
    pub async fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    pub async fn send(&self, datagram: &[u8]) {
        self.0.send(datagram).await.unwrap();
    }

    pub async fn receive(&self) -> Vec<u8> {
        let answer = tokio::time::timeout(PATIENCE, self.next()).await;
        answer.expect("an answer comes in time")
    }

    pub async fn ask(&self, text: &str) -> String {
        self.send(text.as_bytes()).await;
        String::from_utf8(self.receive().await).unwrap()
    }

    /// Asks, and hears nothing.
    pub async fn asks_in_vain(&self, text: &str) {
        self.send(text.as_bytes()).await;
        let answer = tokio::time::timeout(SILENCE, self.next()).await;
        assert!(answer.is_err(), "{answer:?}");
    }

    /// Asks until there is an answer: what was lost is not sent again by anybody else.
    pub async fn ask_again_and_again(&self, text: &str) -> String {
        for _ in 0..50 {
            self.send(text.as_bytes()).await;
            let wait = Duration::from_millis(100);
            if let Ok(answer) = tokio::time::timeout(wait, self.next()).await {
                return String::from_utf8(answer).unwrap();
            }
        }
        panic!("no answer to {text}");
    }

    async fn next(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let len = self.0.recv(&mut buffer).await.unwrap();
        buffer.truncate(len);
        buffer
    }
}

pub fn udp_listener(section: &str, port: u16) -> Part {
    Part::from(Listener {
        protocol: ListenerProtocol::Udp,
        ..listener_at(section, port, "")
    })
}

/// A route that is attached to listeners by their section names.
pub fn udp_route(name: &str, sections: &[&str], choices: Vec<L4Choice>) -> L4Route {
    let attachments = sections.iter();
    let attachments = attachments.map(|section| attachment(&format!("infra/gw/{section}"), &[""]));
    L4Route {
        kind: L4RouteKind::Udp,
        object: ObjectName::new("shop", name),
        created_at_unix_s: 0,
        attachments: attachments.collect(),
        rule_name: None,
        choices,
    }
}

pub fn share(backend: &str, weight: u32) -> L4Choice {
    L4Choice {
        weight,
        target: Target::Backend(backend.into()),
    }
}

pub fn fault(weight: u32) -> L4Choice {
    L4Choice {
        weight,
        target: Target::Fault("the backend does not exist".into()),
    }
}

pub fn udp_backend(name: &str, addresses: &[SocketAddr]) -> Vec<Part> {
    backend_of(name, addresses, BackendProtocol::Udp)
}

/// A listener `dns` at port 5300 whose route leads to one backend.
pub fn dns(addresses: &[SocketAddr]) -> Vec<Part> {
    let mut parts = udp_backend("a", addresses);
    parts.push(udp_listener("dns", 5300));
    parts.push(Part::L4Route(udp_route("r", &["dns"], vec![share("a", 1)])));
    parts
}
