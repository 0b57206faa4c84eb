//! Datagrams to a UDP listener go where its route says, and answers come back.

use tidegate_ir::Part;

use crate::support::Running;
use crate::support::configd::snapshot;
use crate::support::udp::{
    UdpClient, UdpEcho, dns, fault, share, udp_backend, udp_listener, udp_route,
};

async fn running(parts: Vec<Part>) -> Running {
    let running = Running::start().await;
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

#[tokio::test]
async fn datagrams_are_answered_by_the_backend_of_the_route() {
    let echo = UdpEcho::start("a:").await;
    let running = running(dns(&[echo.address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    for text in ["one", "two", "three"] {
        assert_eq!(client.ask(text).await, format!("a:{text}"));
    }
    assert_eq!(echo.flows(), 1);
    let labels = [
        "protocol=\"udp\"",
        "gateway=\"gw\"",
        "listener=\"dns\"",
        "route_kind=\"UDPRoute\"",
        "route=\"r\"",
        "backend=\"a\"",
    ];
    let count = |name| running.metric(name, &labels);
    assert_eq!(count("tidegate_flows{"), 1);
    assert_eq!(count("tidegate_flow_received_datagrams_total"), 3);
    assert_eq!(count("tidegate_flow_sent_datagrams_total"), 3);
    assert_eq!(count("tidegate_flow_received_bytes_total"), 11);
    assert_eq!(count("tidegate_flow_sent_bytes_total"), 17);
}

#[tokio::test]
async fn empty_and_largest_datagrams_go_both_ways() {
    let echo = UdpEcho::start("").await;
    let running = running(dns(&[echo.address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    let largest: Vec<u8> = (0..65_507_u32).map(|place| place as u8).collect();
    for datagram in [&b""[..], &largest, b"x", b"", &largest[..1400]] {
        client.send(datagram).await;
        assert!(
            client.receive().await == datagram,
            "{} bytes",
            datagram.len()
        );
    }
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    let echo = UdpEcho::start("").await;
    let running = running(dns(&[echo.address])).await;
    let client = UdpClient::of(running.address("dns")).await;
    for _ in 0..20 {
        // Trains of equal size with a shorter end, as bulk protocols send them, and sizes of all sorts.
        let sizes = [
            200, 200, 200, 200, 150, 1200, 1200, 40, 41, 41, 0, 900, 900, 900,
        ];
        for (number, size) in sizes.into_iter().enumerate() {
            client.send(&vec![number as u8; size]).await;
        }
        for (number, size) in sizes.into_iter().enumerate() {
            assert_eq!(client.receive().await, vec![number as u8; size]);
        }
    }
}

#[tokio::test]
async fn a_client_stays_at_its_backend_and_clients_are_shared_by_weight() {
    let (a, b, none) = (
        UdpEcho::start("a").await,
        UdpEcho::start("b").await,
        UdpEcho::start("none").await,
    );
    let choices = vec![share("a", 3), share("b", 1), share("none", 0)];
    let mut parts = vec![
        udp_listener("dns", 5300),
        Part::L4Route(udp_route("r", &["dns"], choices)),
    ];
    for (name, echo) in [("a", &a), ("b", &b), ("none", &none)] {
        parts.extend(udp_backend(name, &[echo.address]));
    }
    let running = running(parts).await;
    for _ in 0..40 {
        let client = UdpClient::of(running.address("dns")).await;
        let first = client.ask("").await;
        for _ in 0..3 {
            assert_eq!(client.ask("").await, first);
        }
    }
    assert_eq!((a.flows(), b.flows(), none.flows()), (30, 10, 0));
}

#[tokio::test]
async fn endpoints_of_a_backend_take_turns() {
    let (one, two) = (UdpEcho::start("1").await, UdpEcho::start("2").await);
    let running = running(dns(&[one.address, two.address])).await;
    for _ in 0..10 {
        let client = UdpClient::of(running.address("dns")).await;
        client.ask("").await;
    }
    assert_eq!((one.flows(), two.flows()), (5, 5));
}

#[tokio::test]
async fn the_oldest_route_of_a_listener_serves_alone() {
    let (old, young) = (UdpEcho::start("old").await, UdpEcho::start("young").await);
    let mut younger = udp_route("a", &["dns"], vec![share("young", 1)]);
    younger.created_at_unix_s = 7;
    let older = udp_route("b", &["dns"], vec![share("old", 1)]);
    let mut parts = vec![
        udp_listener("dns", 5300),
        Part::L4Route(younger),
        Part::L4Route(older),
    ];
    parts.extend(udp_backend("old", &[old.address]));
    parts.extend(udp_backend("young", &[young.address]));
    let running = running(parts).await;
    for _ in 0..10 {
        let client = UdpClient::of(running.address("dns")).await;
        assert_eq!(client.ask("").await, "old");
    }
}

#[tokio::test]
async fn a_route_serves_each_listener_that_it_is_attached_to() {
    let (a, b) = (UdpEcho::start("a").await, UdpEcho::start("b").await);
    let mut parts = vec![
        udp_listener("one", 5310),
        udp_listener("two", 5311),
        udp_listener("three", 5312),
        Part::L4Route(udp_route("r", &["one", "three"], vec![share("a", 1)])),
        Part::L4Route(udp_route("s", &["two"], vec![share("b", 1)])),
    ];
    parts.extend(udp_backend("a", &[a.address]));
    parts.extend(udp_backend("b", &[b.address]));
    let running = running(parts).await;
    for (section, expected) in [("one", "a"), ("two", "b"), ("three", "a")] {
        let client = UdpClient::of(running.address(section)).await;
        assert_eq!(client.ask("").await, expected);
    }
}

#[tokio::test]
async fn datagrams_that_lead_nowhere_are_dropped_and_counted_by_the_reason() {
    let parts = [
        udp_backend("empty", &[]),
        vec![
            udp_listener("lonely", 5300),
            udp_listener("broken", 5301),
            udp_listener("empty", 5302),
            Part::L4Route(udp_route("broken", &["broken"], vec![fault(1)])),
            Part::L4Route(udp_route("empty", &["empty"], vec![share("empty", 1)])),
        ],
    ];
    let running = running(parts.concat()).await;
    for (section, port, reason) in [
        ("lonely", 5300, "no_route"),
        ("broken", 5301, "rule_invalid"),
        ("empty", 5302, "no_endpoint"),
    ] {
        let client = UdpClient::of(running.address(section)).await;
        client.asks_in_vain("x").await;
        client.asks_in_vain("y").await;
        let labels = [
            &*format!("port=\"{port}\""),
            &format!("reason=\"{reason}\""),
        ];
        let dropped = running.metric("tidegate_udp_datagrams_dropped_total", &labels);
        assert_eq!(dropped, 2, "{section}");
    }
    assert_eq!(running.metric("tidegate_flows{", &[]), 0);
}

#[tokio::test]
async fn shares_of_backends_that_do_not_exist_are_dropped() {
    let a = UdpEcho::start("a").await;
    let mut parts = vec![
        udp_listener("dns", 5300),
        Part::L4Route(udp_route("r", &["dns"], vec![share("a", 1), fault(1)])),
    ];
    parts.extend(udp_backend("a", &[a.address]));
    let running = running(parts).await;
    let mut clients = vec![];
    for _ in 0..10 {
        let client = UdpClient::of(running.address("dns")).await;
        client.send(b"x").await;
        clients.push(client);
    }
    let reason = ["reason=\"rule_invalid\""];
    let dropped = "tidegate_udp_datagrams_dropped_total";
    running
        .wait_for_value(dropped, &reason, |dropped| dropped == 5)
        .await;
    a.has_seen(5).await;
    assert_eq!(a.count(), 5);
}

#[tokio::test]
async fn a_route_whose_permission_is_taken_away_gets_no_new_flows() {
    let a = UdpEcho::start("a").await;
    let running = running(dns(&[a.address])).await;
    let before = UdpClient::of(running.address("dns")).await;
    assert_eq!(before.ask("1").await, "a1");
    let revoked = Part::L4Route(udp_route("r", &["dns"], vec![fault(1)]));
    let revoked = snapshot(2, [udp_listener("dns", 5300), revoked]);
    running.configd.apply(&revoked).await;
    let after = UdpClient::of(running.address("dns")).await;
    after.asks_in_vain("2").await;
    // Flows live on as connections do.
    assert_eq!(before.ask("3").await, "a3");
    running.configd.apply(&snapshot(3, dns(&[a.address]))).await;
    assert_eq!(after.ask("4").await, "a4");
}

#[tokio::test]
async fn flows_live_on_through_two_hundred_snapshots() {
    let (a, b) = (UdpEcho::start("a").await, UdpEcho::start("b").await);
    let parts = |name: &str| {
        let mut parts = vec![
            udp_listener("dns", 5300),
            Part::L4Route(udp_route("r", &["dns"], vec![share(name, 1)])),
        ];
        parts.extend(udp_backend("a", &[a.address]));
        parts.extend(udp_backend("b", &[b.address]));
        parts
    };
    let running = running(parts("a")).await;
    let mut clients = vec![];
    for _ in 0..8 {
        let client = UdpClient::of(running.address("dns")).await;
        assert_eq!(client.ask("").await, "a");
        clients.push(client);
    }
    for version in 2..=201 {
        let name = if version % 2 == 0 { "b" } else { "a" };
        running.configd.apply(&snapshot(version, parts(name))).await;
        let client = &clients[version as usize % clients.len()];
        assert_eq!(client.ask("").await, "a", "version {version}");
    }
    let late = UdpClient::of(running.address("dns")).await;
    assert_eq!(late.ask("").await, "a");
    assert_eq!(a.flows(), clients.len() + 1);
    assert_eq!(b.flows(), 0);
}
