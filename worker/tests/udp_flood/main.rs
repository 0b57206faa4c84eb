//! More UDP clients than there is room for; a program of its own, since it leaves other tests no time.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may stop where they fail"
)]
#![allow(dead_code, reason = "the other tests use the rest of the support")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_ir::Part;

#[path = "../worker"]
mod worker {
    pub(crate) mod support;
}

use worker::support::backend::Echo;
use worker::support::client::get;
use worker::support::configd::snapshot;
use worker::support::parts::{backend, listener_at, route, to};
use worker::support::process::{Process, free_port, value_of};
use worker::support::udp::{UdpClient, UdpEcho, share, udp_backend, udp_listener, udp_route};

/// Clients of the flood.
const SOURCES: usize = 100_000;

/// Flows that the thread has room for.
const ROOM: usize = 200;

/// A socket whose datagrams have the address of that many-th client.
fn source(number: usize, to: SocketAddr) -> UdpSocket {
    let number = number as u32 + 1;
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number);
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.connect(to).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_sources_take_bounded_room_and_disturb_no_other_listener() {
    let (sink, dns) = (UdpEcho::silent().await, UdpEcho::start("dns").await);
    let http = Echo::start("web").await;
    let limit = format!("udp-flows-max={ROOM}");
    let process = Process::start(&["--limit", &limit, "--no-access-log"], None).await;
    let mut parts = vec![
        udp_listener("flooded", free_port()),
        udp_listener("quiet", free_port()),
        Part::L4Route(udp_route("r", &["flooded"], vec![share("sink", 1)])),
        Part::L4Route(udp_route("s", &["quiet"], vec![share("dns", 1)])),
        Part::from(listener_at("http", free_port(), "")),
        Part::Route(route("r", vec![to("/", "web")])),
    ];
    parts.extend(udp_backend("sink", &[sink.address]));
    parts.extend(udp_backend("dns", &[dns.address]));
    parts.extend(backend("web", &[http.address]));
    process.apply(&snapshot(1, parts)).await;
    let (flooded, web) = (process.address("flooded"), process.address("http"));
    let quiet = UdpClient::of(process.address("quiet")).await;
    assert_eq!(quiet.ask("").await, "dns");
    let (memory_kib, descriptors) = (process.resident_kib(), process.descriptors());
    let over = Arc::new(AtomicBool::new(false));
    let flood = tokio::task::spawn_blocking({
        let over = over.clone();
        move || {
            for number in 0..SOURCES {
                // A send that fails is a client less.
                let _ = source(number, flooded).send(b"who am I");
            }
            over.store(true, Ordering::Relaxed);
        }
    });
    let mut requests = 0;
    while !over.load(Ordering::Relaxed) {
        assert_eq!(get(web, "h", "/").await.status(), 200);
        // The flow of a quiet port is none of those that make room.
        assert_eq!(quiet.ask("").await, "dns");
        requests += 1;
        let more = process.descriptors().saturating_sub(descriptors);
        assert!(more < ROOM + 20, "{more} descriptors more");
    }
    flood.await.unwrap();
    assert!(requests > 5, "{requests} requests while the flood lasted");
    assert_eq!(dns.flows(), 1);
    // Each source has sent one datagram.
    let began = sink.count() as u64;
    assert!(
        began > SOURCES as u64 / 10,
        "only {began} of the sources got through"
    );
    let metrics = process.metrics().await;
    let open = value_of(&metrics, "tidegate_flows{", &[]);
    assert!(open <= ROOM as u64, "{open} flows");
    let evicted = ["reason=\"evicted\"", "route=\"r\""];
    let evicted = value_of(&metrics, "tidegate_flows_ended_total", &evicted);
    assert!(
        evicted + open >= began,
        "{evicted} evicted and {open} left of {began}"
    );
    let grown_kib = process.resident_kib().saturating_sub(memory_kib);
    assert!(grown_kib < 16 << 10, "{grown_kib} KiB more");
}
