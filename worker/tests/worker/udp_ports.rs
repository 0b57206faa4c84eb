//! UDP ports: bound apart from TCP, drained with their flows, and answering from the address that was asked.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tidegate_ir::Part;
use tidegate_runtime::drain::DrainOutcome;
use tidegate_worker::Limits;

use crate::support::backend::Echo;
use crate::support::client::get;
use crate::support::configd::{Answer, snapshot};
use crate::support::parts::{backend, listener_at, route, to};
use crate::support::process::free_port;
use crate::support::udp::{UdpClient, UdpEcho, dns, share, udp_backend, udp_listener, udp_route};
use crate::support::{Running, Setup};

fn exact() -> Setup {
    Setup {
        exact_ports: true,
        ..Setup::default()
    }
}

fn dns_at(port: u16, echo: &UdpEcho) -> Vec<Part> {
    let mut parts = udp_backend("a", &[echo.address]);
    parts.push(udp_listener("dns", port));
    parts.push(Part::L4Route(udp_route("r", &["dns"], vec![share("a", 1)])));
    parts
}

#[tokio::test]
async fn one_number_is_a_tcp_port_and_a_udp_port() {
    let (http, udp) = (Echo::start("http").await, UdpEcho::start("udp").await);
    let port = free_port();
    let running = Running::start_with(exact()).await;
    let mut parts = dns_at(port, &udp);
    parts.push(Part::from(listener_at("http", port, "")));
    parts.push(Part::Route(route("r", vec![to("/", "b")])));
    parts.extend(backend("b", &[http.address]));
    running.configd.apply(&snapshot(1, parts)).await;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(running.address("dns"), address);
    assert_eq!(running.address("http"), address);
    assert_eq!(get(address, "h", "/").await.status(), 200);
    assert_eq!(UdpClient::of(address).await.ask("").await, "udp");
}

#[tokio::test]
async fn a_busy_port_is_refused_with_the_way_out() {
    let echo = UdpEcho::start("a").await;
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let running = Running::start_with(exact()).await;
    let Answer::Nack(nack) = running
        .configd
        .send(&snapshot(1, dns_at(port, &echo)))
        .await
    else {
        panic!("applied")
    };
    assert_eq!(
        nack.problems[0].message,
        format!(
            "UDP port {port} of 127.0.0.1 is in use: stop the process that listens there, or choose another port"
        )
    );
    drop(taken);
    running
        .configd
        .apply(&snapshot(2, dns_at(port, &echo)))
        .await;
}

#[tokio::test]
async fn answers_leave_from_the_address_that_was_asked() {
    let echo = UdpEcho::start("a").await;
    for (bind, clients) in [
        (Ipv4Addr::UNSPECIFIED.into(), ["127.0.0.1", "127.0.0.2"]),
        (std::net::Ipv6Addr::UNSPECIFIED.into(), ["127.0.0.3", "::1"]),
    ] {
        let setup = Setup {
            bind: Some(bind),
            ..Setup::default()
        };
        let running = Running::start_with(setup).await;
        running
            .configd
            .apply(&snapshot(1, dns(&[echo.address])))
            .await;
        let port = running.address("dns").port();
        for asked in clients {
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            let from: SocketAddr = if asked.is_ipv4() {
                "127.0.0.1:0".parse().unwrap()
            } else {
                "[::1]:0".parse().unwrap()
            };
            let client = tokio::net::UdpSocket::bind(from).await.unwrap();
            // One socket asks two addresses: those are two flows.
            client.send_to(b"x", asked).await.unwrap();
            let mut buffer = [0; 16];
            let answer =
                tokio::time::timeout(Duration::from_secs(5), client.recv_from(&mut buffer));
            let (len, sender) = answer.await.expect("an answer").unwrap();
            assert_eq!((&buffer[..len], sender), (&b"ax"[..], asked));
        }
    }
}

#[tokio::test]
async fn a_port_without_a_listener_serves_the_flows_that_it_has_and_no_new_ones() {
    let echo = UdpEcho::start("a").await;
    let port = free_port();
    let limits = Limits {
        udp_idle_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let running = Running::start_with(Setup { limits, ..exact() }).await;
    running
        .configd
        .apply(&snapshot(1, dns_at(port, &echo)))
        .await;
    let address = running.address("dns");
    let (before, after) = (UdpClient::of(address).await, UdpClient::of(address).await);
    assert_eq!(before.ask("1").await, "a1");
    running.configd.apply(&snapshot(2, [])).await;
    after.asks_in_vain("2").await;
    assert_eq!(before.ask("3").await, "a3");
    let dropped = ["reason=\"draining\""];
    assert_eq!(
        running.metric("tidegate_udp_datagrams_dropped_total", &dropped),
        1
    );
    // The same port again, while its flow goes on.
    running
        .configd
        .apply(&snapshot(3, dns_at(port, &echo)))
        .await;
    assert_eq!(before.ask("4").await, "a4");
    assert_eq!(after.ask("5").await, "a5");
    assert_eq!(echo.flows(), 2);
    // Without a word the flows end, and with the last one the port.
    running.configd.apply(&snapshot(4, [])).await;
    let ended = ["reason=\"idle\""];
    running
        .wait_for_value("tidegate_flows_ended_total", &ended, |ended| ended == 2)
        .await;
    for _ in 0..500 {
        if UdpSocket::bind(address).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    UdpSocket::bind(address).expect("the port is free again");
    running
        .configd
        .apply(&snapshot(5, dns_at(port, &echo)))
        .await;
    assert_eq!(after.ask("6").await, "a6");
}

#[tokio::test]
async fn a_refused_snapshot_leaves_a_draining_port_draining() {
    let echo = UdpEcho::start("a").await;
    let (port, taken) = (free_port(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let running = Running::start_with(exact()).await;
    running
        .configd
        .apply(&snapshot(1, dns_at(port, &echo)))
        .await;
    let address = running.address("dns");
    let before = UdpClient::of(address).await;
    assert_eq!(before.ask("1").await, "a1");
    running.configd.apply(&snapshot(2, [])).await;
    let mut parts = dns_at(port, &echo);
    parts.push(udp_listener("taken", taken.local_addr().unwrap().port()));
    let refused = running.configd.send(&snapshot(3, parts)).await;
    assert!(matches!(refused, Answer::Nack(_)), "{refused:?}");
    UdpClient::of(address).await.asks_in_vain("2").await;
    assert_eq!(before.ask("3").await, "a3");
}

#[tokio::test]
async fn a_drain_lets_flows_live_until_they_are_idle() {
    let echo = UdpEcho::start("a").await;
    let limits = Limits {
        udp_idle_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let running = Running::start_with(Setup {
        limits,
        ..Setup::default()
    })
    .await;
    running
        .configd
        .apply(&snapshot(1, dns(&[echo.address])))
        .await;
    let address = running.address("dns");
    let known = UdpClient::of(address).await;
    assert_eq!(known.ask("1").await, "a1");
    running.worker.drain();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(known.ask("2").await, "a2");
    UdpClient::of(address).await.asks_in_vain("3").await;
    assert_eq!(known.ask("4").await, "a4");
    assert_eq!(running.drain.finish().await, DrainOutcome::Clean);
    UdpSocket::bind(address).expect("the port is free again");
}
