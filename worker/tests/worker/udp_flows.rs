//! Flows whose endpoints refuse, are silent, or are gone, and flows that make room for others.

use std::time::Duration;

use tidegate_ir::{
    Backend, BackendProtocol, Balancing, ConnectionLimits, Ejection, HashKey, ObjectName, Part,
};
use tidegate_worker::Limits;

use crate::support::configd::snapshot;
use crate::support::udp::{UdpClient, UdpEcho, dns};
use crate::support::{Running, Setup};

async fn running(setup: Setup, parts: Vec<Part>) -> Running {
    let running = Running::start_with(setup).await;
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

/// An address that refuses datagrams.
async fn refusing() -> std::net::SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

/// The parts of [`dns`], with another backend.
fn with_backend(
    addresses: &[std::net::SocketAddr],
    change: impl FnOnce(&mut Backend),
) -> Vec<Part> {
    let mut parts = dns(addresses);
    let mut backend = Backend {
        protocol: BackendProtocol::Udp,
        ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
    };
    change(&mut backend);
    parts[0] = backend.into();
    parts
}

#[tokio::test]
async fn a_flow_whose_endpoint_refuses_goes_on_to_another_one() {
    let good = UdpEcho::start("good").await;
    let running = running(Setup::default(), dns(&[refusing().await, good.address])).await;
    for _ in 0..4 {
        let client = UdpClient::of(running.address("dns")).await;
        assert_eq!(client.ask_again_and_again("").await, "good");
        assert_eq!(client.ask("").await, "good");
    }
    let lost = ["reason=\"unreachable\""];
    let lost = running.metric("tidegate_udp_datagrams_dropped_total", &lost);
    assert!((1..=4).contains(&lost), "{lost} lost");
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_left_out() {
    let good = UdpEcho::start("good").await;
    let parts = with_backend(&[refusing().await, good.address], |backend| {
        backend.ejection = Some(Ejection {
            consecutive_errors: 1,
            base_ms: 60_000,
            max_percent: 50,
            panic_percent: 0,
        });
    });
    let running = running(Setup::default(), parts).await;
    let first = [
        UdpClient::of(running.address("dns")).await,
        UdpClient::of(running.address("dns")).await,
    ];
    for client in &first {
        client.ask_again_and_again("").await;
    }
    running
        .wait_for_metric("tidegate_upstream_ejections_total{backend=\"a\"} 1")
        .await;
    for _ in 0..6 {
        let client = UdpClient::of(running.address("dns")).await;
        assert_eq!(client.ask("").await, "good");
    }
}

#[tokio::test]
async fn an_endpoint_that_comes_back_serves_its_flows_again() {
    let address = refusing().await;
    let running = running(Setup::default(), dns(&[address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    client.asks_in_vain("").await;
    let _echo = UdpEcho::start_at(address, "back", true).await;
    assert_eq!(client.ask_again_and_again("").await, "back");
}

#[tokio::test]
async fn a_flow_whose_endpoint_is_gone_moves_to_one_that_is_there() {
    let (one, two) = (UdpEcho::start("1").await, UdpEcho::start("2").await);
    let running = running(Setup::default(), dns(&[one.address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    assert_eq!(client.ask("").await, "1");
    running
        .configd
        .apply(&snapshot(2, dns(&[two.address])))
        .await;
    assert_eq!(client.ask("").await, "2");
    running
        .configd
        .apply(&snapshot(3, dns(&[one.address, two.address])))
        .await;
    assert_eq!(client.ask("").await, "2");
    assert_eq!(running.metric("tidegate_flows{", &[]), 1);
}

#[tokio::test]
async fn a_flow_whose_backend_has_no_endpoint_left_ends_and_begins_again_with_one() {
    let (one, two) = (UdpEcho::start("1").await, UdpEcho::start("2").await);
    let running = running(Setup::default(), dns(&[one.address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    assert_eq!(client.ask("").await, "1");
    running.configd.apply(&snapshot(2, dns(&[]))).await;
    client.asks_in_vain("").await;
    let ended = ["reason=\"endpoint_gone\""];
    assert_eq!(running.metric("tidegate_flows_ended_total", &ended), 1);
    running
        .configd
        .apply(&snapshot(3, dns(&[two.address])))
        .await;
    assert_eq!(client.ask("").await, "2");
}

#[tokio::test]
async fn a_flow_to_a_silent_backend_ends_when_it_is_idle() {
    let silent = UdpEcho::silent().await;
    let limits = Limits {
        udp_idle_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let running = running(setup, dns(&[silent.address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    client.send(b"x").await;
    silent.has_seen(1).await;
    assert_eq!(running.metric("tidegate_flows{", &[]), 1);
    let ended = ["reason=\"idle\"", "route=\"r\""];
    running
        .wait_for_value("tidegate_flows_ended_total", &ended, |ended| ended == 1)
        .await;
    assert_eq!(running.metric("tidegate_flows{", &[]), 0);
    client.send(b"y").await;
    silent.has_seen(2).await;
    assert_eq!(silent.flows(), 2);
}

#[tokio::test]
async fn clients_by_hash_go_to_one_endpoint_from_all_of_their_ports() {
    let (one, two) = (UdpEcho::start("1").await, UdpEcho::start("2").await);
    let parts = with_backend(&[one.address, two.address], |backend| {
        backend.balancing = Balancing::RingHash(HashKey::ClientIp);
    });
    let running = running(Setup::default(), parts).await;
    for _ in 0..8 {
        let client = UdpClient::of(running.address("dns")).await;
        client.ask("").await;
    }
    let flows = [one.flows(), two.flows()];
    assert!(flows == [8, 0] || flows == [0, 8], "{flows:?}");
}

#[tokio::test]
async fn a_backend_gets_no_more_flows_than_it_may_have() {
    let echo = UdpEcho::start("").await;
    let parts = with_backend(&[echo.address], |backend| {
        backend.limits = ConnectionLimits {
            connections: Some(2),
            ..ConnectionLimits::default()
        };
    });
    let running = running(Setup::default(), parts).await;
    let mut clients = vec![];
    for _ in 0..2 {
        let client = UdpClient::of(running.address("dns")).await;
        client.ask("x").await;
        clients.push(client);
    }
    UdpClient::of(running.address("dns"))
        .await
        .asks_in_vain("x")
        .await;
    let reason = ["reason=\"overloaded\""];
    assert_eq!(
        running.metric("tidegate_udp_datagrams_dropped_total", &reason),
        1
    );
    clients[0].ask("x").await;
}

#[tokio::test]
async fn the_flow_that_was_idle_longest_makes_room_and_busy_ones_stay() {
    const ROOM: usize = 200;
    let echo = UdpEcho::start("").await;
    let limits = Limits {
        udp_flows_max: ROOM,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        threads: Some(1),
        ..Setup::default()
    };
    let running = Running::start_with(setup).await;
    running
        .configd
        .apply(&snapshot(1, dns(&[echo.address])))
        .await;
    let address = running.address("dns");
    let (idle, busy) = (UdpClient::of(address).await, UdpClient::of(address).await);
    idle.ask("x").await;
    busy.ask("x").await;
    // They stay, so that none of them has the port of one before.
    let mut clients = vec![];
    for _ in 0..2 {
        for _ in 0..ROOM / 2 {
            let client = UdpClient::of(address).await;
            client.ask("x").await;
            clients.push(client);
        }
        busy.ask("x").await;
    }
    let flows = || running.metric("tidegate_flows{", &[]);
    let evicted = || running.metric("tidegate_flows_ended_total", &["reason=\"evicted\""]);
    assert_eq!((flows(), evicted()), (ROOM as u64, 2));
    busy.ask("x").await;
    assert_eq!(evicted(), 2, "the busy flow is the one that it was");
    idle.ask("x").await;
    assert_eq!(evicted(), 3, "the idle flow had to begin again");
    assert_eq!(flows(), ROOM as u64);
}
