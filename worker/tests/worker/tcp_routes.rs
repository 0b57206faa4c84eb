//! TCPRoutes: whose backend a connection gets, and what becomes of its bytes.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_ir::*;
use tidegate_runtime::drain::DrainOutcome;
use tidegate_worker::{Edge, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::{Echo, refusing};
use crate::support::bytes::{Greeter, end, greeted, greeting, lines};
use crate::support::client::get;
use crate::support::configd::snapshot;
use crate::support::parts::{
    attachment, backend, backend_of, l4_listener, l4_route, listener, route, share, to,
};
use crate::support::{Running, Setup};

fn bytes_to(name: &str, addresses: &[SocketAddr]) -> Vec<Part> {
    backend_of(name, addresses, BackendProtocol::Tcp)
}

fn tcp() -> Part {
    Part::from(l4_listener("tcp", 5432, "", ListenerProtocol::Tcp))
}

fn tcp_route(name: &str, choices: Vec<L4Choice>) -> L4Route {
    let attachments = vec![attachment("infra/gw/tcp", &[""])];
    l4_route(L4RouteKind::Tcp, name, attachments, choices)
}

/// A worker with one TCP listener, one route with these choices, and backends.
async fn serving(setup: Setup, choices: Vec<L4Choice>, backends: Vec<Vec<Part>>) -> Running {
    let running = Running::start_with(setup).await;
    let parts = [tcp(), Part::L4Route(tcp_route("r", choices))];
    let parts = parts.into_iter().chain(backends.into_iter().flatten());
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

async fn in_front_of(address: SocketAddr) -> Running {
    let backends = vec![bytes_to("a", &[address])];
    serving(Setup::default(), vec![share("a", 1)], backends).await
}

/// Connects, and is reset, perhaps before it knows that it is connected.
async fn is_reset(address: SocketAddr) {
    let ended = match TcpStream::connect(address).await {
        Ok(stream) => end(stream).await,
        Err(error) => Some(error.kind()),
    };
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn the_backend_may_speak_first() {
    let greeter = Greeter::start("a").await;
    let running = in_front_of(greeter.address).await;
    let mut stream = TcpStream::connect(running.address("tcp")).await.unwrap();
    assert_eq!(greeting(&mut stream).await.unwrap(), "a");
    stream.write_all(b"over and out\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(lines(stream).await.unwrap(), ["over and out"]);
}

#[tokio::test]
async fn connections_are_shared_by_weight_and_weight_0_gets_none() {
    let [a, b, none] = [
        Greeter::start("a").await,
        Greeter::start("b").await,
        Greeter::start("none").await,
    ];
    let choices = vec![share("a", 3), share("b", 1), share("none", 0)];
    let backends = vec![
        bytes_to("a", &[a.address]),
        bytes_to("b", &[b.address]),
        bytes_to("none", &[none.address]),
    ];
    let running = serving(Setup::default(), choices, backends).await;
    for _ in 0..40 {
        greeted(running.address("tcp")).await.unwrap();
    }
    assert_eq!((a.accepted(), b.accepted(), none.accepted()), (30, 10, 0));
}

#[tokio::test]
async fn of_several_routes_the_oldest_wins() {
    let (old, new) = (Greeter::start("old").await, Greeter::start("new").await);
    let running = Running::start().await;
    let mut younger = tcp_route("a-comes-first-by-name", vec![share("new", 1)]);
    younger.created_at_unix_s = 10;
    let older = tcp_route("b", vec![share("old", 1)]);
    let both = |older: Option<L4Route>| {
        let routes = older
            .into_iter()
            .chain([younger.clone()])
            .map(Part::L4Route);
        let backends = [
            bytes_to("old", &[old.address]),
            bytes_to("new", &[new.address]),
        ];
        [tcp()]
            .into_iter()
            .chain(routes)
            .chain(backends.into_iter().flatten())
            .collect::<Vec<_>>()
    };
    running.configd.apply(&snapshot(1, both(Some(older)))).await;
    for _ in 0..3 {
        assert_eq!(greeted(running.address("tcp")).await.unwrap(), "old");
    }
    running.configd.apply(&snapshot(2, both(None))).await;
    assert_eq!(greeted(running.address("tcp")).await.unwrap(), "new");
}

#[tokio::test]
async fn each_listener_serves_what_is_attached_to_it() {
    let (a, b) = (Greeter::start("a").await, Greeter::start("b").await);
    let running = Running::start().await;
    let listeners = [("one", 9301), ("two", 9302), ("three", 9303)]
        .map(|(section, port)| Part::from(l4_listener(section, port, "", ListenerProtocol::Tcp)));
    let attached = |name: &str, sections: &[&str]| {
        let attachments = sections.iter().map(|section| attachment(section, &[""]));
        let attachments = attachments.collect();
        let choices = vec![share(name, 1)];
        Part::L4Route(l4_route(L4RouteKind::Tcp, name, attachments, choices))
    };
    let routes = [
        attached("a", &["infra/gw/one", "infra/gw/three"]),
        attached("b", &["infra/gw/two"]),
    ];
    let backends = [bytes_to("a", &[a.address]), bytes_to("b", &[b.address])];
    let parts = listeners.into_iter().chain(routes);
    let parts = parts.chain(backends.into_iter().flatten());
    running.configd.apply(&snapshot(1, parts)).await;
    for (section, name) in [("one", "a"), ("two", "b"), ("three", "a")] {
        assert_eq!(greeted(running.address(section)).await.unwrap(), name);
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_reset_and_counted() {
    let refused = refusing().await;
    let fault = L4Choice {
        weight: 1,
        target: Target::Fault("no such backend".into()),
    };
    for (choices, backends, reason) in [
        (vec![fault], vec![], "rule_invalid"),
        (vec![share("a", 1)], vec![bytes_to("a", &[])], "no_endpoint"),
        (
            vec![share("a", 1)],
            vec![bytes_to("a", &[refused])],
            "connect_failed",
        ),
    ] {
        let running = serving(Setup::default(), choices, backends).await;
        is_reset(running.address("tcp")).await;
        running
            .wait_for_metric(&format!("reason=\"{reason}\"}} 1"))
            .await;
    }
    let running = Running::start().await;
    running.configd.apply(&snapshot(1, [tcp()])).await;
    is_reset(running.address("tcp")).await;
    running
        .wait_for_metric("route=\"__unmatched__\",backend=\"\",reason=\"no_route\"} 1")
        .await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_leads_to_another_one_and_is_left_out_in_the_end() {
    let (refused, greeter) = (refusing().await, Greeter::start("a").await);
    let mut parts = bytes_to("a", &[refused, greeter.address]);
    let Part::Backend(backend) = &mut parts[0] else {
        panic!("the backend comes first")
    };
    backend.ejection = Some(Ejection {
        consecutive_errors: 2,
        base_ms: 60_000,
        max_percent: 50,
        panic_percent: 0,
    });
    let running = serving(Setup::default(), vec![share("a", 1)], vec![parts]).await;
    for _ in 0..8 {
        assert_eq!(greeted(running.address("tcp")).await.unwrap(), "a");
    }
    running
        .wait_for_metric("upstream_ejections_total{backend=\"a\"} 1")
        .await;
}

#[tokio::test]
async fn either_side_may_end_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = in_front_of(listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(running.address("tcp")).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    backend.write_all(b"that was all\n").await.unwrap();
    backend.shutdown().await.unwrap();
    let (from, mut to) = client.split();
    assert_eq!(lines(from).await.unwrap(), ["that was all"]);
    to.write_all(b"not for me\n").await.unwrap();
    to.shutdown().await.unwrap();
    assert_eq!(lines(&mut backend).await.unwrap(), ["not for me"]);
}

#[tokio::test]
async fn many_bytes_arrive_as_they_were_sent() {
    let greeter = Greeter::start("a").await;
    let running = in_front_of(greeter.address).await;
    let mut stream = TcpStream::connect(running.address("tcp")).await.unwrap();
    greeting(&mut stream).await.unwrap();
    let sent: Vec<u8> = (0..20_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (mut from, mut to) = stream.split();
    let mut got = Vec::new();
    let sending = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let ((), read) = tokio::join!(sending, from.read_to_end(&mut got));
    read.unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
    running
        .wait_for_metric("tidegate_flow_sent_bytes_total{protocol=\"tcp\"")
        .await;
    let metrics = running.metrics.encode();
    let of = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(of("tidegate_flow_received_bytes_total"), "20000000");
    assert_eq!(of("tidegate_flow_sent_bytes_total"), "20000002");
}

#[tokio::test]
async fn a_backend_that_does_not_read_holds_its_client_back_and_nobody_else() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let echo = Echo::start("http").await;
    let setup = Setup {
        threads: Some(1),
        ..Setup::default()
    };
    let running = Running::start_with(setup).await;
    let parts = [
        tcp(),
        Part::L4Route(tcp_route("r", vec![share("deaf", 1)])),
        Part::from(listener()),
        Part::Route(route("web", vec![to("/", "a")])),
    ];
    let parts = parts
        .into_iter()
        .chain(bytes_to("deaf", &[deaf.local_addr().unwrap()]));
    running
        .configd
        .apply(&snapshot(1, parts.chain(backend("a", &[echo.address]))))
        .await;
    let mut client = TcpStream::connect(running.address("tcp")).await.unwrap();
    let (_backend, _) = deaf.accept().await.unwrap();
    let (piece, mut sent) = (vec![0; 1 << 20], 0);
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(300), client.write(&piece)).await
    {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "nobody holds the client back");
    }
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
}

#[tokio::test]
async fn a_quiet_connection_ends_after_its_time() {
    let greeter = Greeter::start("a").await;
    let setup = Setup {
        limits: Limits {
            tcp_idle_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let backends = vec![bytes_to("a", &[greeter.address])];
    let running = serving(setup, vec![share("a", 1)], backends).await;
    let mut stream = TcpStream::connect(running.address("tcp")).await.unwrap();
    greeting(&mut stream).await.unwrap();
    assert_eq!(end(stream).await, Some(ErrorKind::ConnectionReset));
    running.wait_for_metric("reason=\"idle_timeout\"} 1").await;
}

#[tokio::test]
async fn a_backend_gets_no_more_connections_than_it_may() {
    let greeter = Greeter::start("a").await;
    let setup = Setup {
        limits: Limits {
            connect_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let mut parts = bytes_to("a", &[greeter.address]);
    let Part::Backend(backend) = &mut parts[0] else {
        panic!("the backend comes first")
    };
    backend.limits.connections = Some(1);
    let running = serving(setup, vec![share("a", 1)], vec![parts]).await;
    let mut first = TcpStream::connect(running.address("tcp")).await.unwrap();
    greeting(&mut first).await.unwrap();
    let second = TcpStream::connect(running.address("tcp")).await.unwrap();
    assert_eq!(end(second).await, Some(ErrorKind::ConnectionReset));
    running.wait_for_metric("reason=\"overloaded\"} 1").await;
    drop(first);
    running.wait_for_metric("reason=\"none\"} 1").await;
    assert_eq!(greeted(running.address("tcp")).await.unwrap(), "a");
}

#[tokio::test]
async fn a_client_has_no_more_connections_than_it_may() {
    let greeter = Greeter::start("a").await;
    let setup = Setup {
        limits: Limits {
            connections_per_client_max: Some(1),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let backends = vec![bytes_to("a", &[greeter.address])];
    let running = serving(setup, vec![share("a", 1)], backends).await;
    let mut first = TcpStream::connect(running.address("tcp")).await.unwrap();
    greeting(&mut first).await.unwrap();
    assert!(greeted(running.address("tcp")).await.is_err());
    running
        .wait_for_metric("connections_ended_total{reason=\"too_many_of_client\"} 1")
        .await;
}

#[tokio::test]
async fn a_proxy_header_in_front_is_taken_off() {
    let greeter = Greeter::start("a").await;
    let setup = Setup {
        edge: Edge {
            proxy_protocol: true,
            ..Edge::default()
        },
        ..Setup::default()
    };
    let backends = vec![bytes_to("a", &[greeter.address])];
    let running = serving(setup, vec![share("a", 1)], backends).await;
    let mut stream = TcpStream::connect(running.address("tcp")).await.unwrap();
    let header = b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\nrest\n";
    stream.write_all(header).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(lines(stream).await.unwrap(), ["a", "rest"]);
}

#[tokio::test]
async fn a_backend_may_be_told_whose_connection_it_gets() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let greeter = Greeter::start("a").await;
        let mut parts = bytes_to("a", &[greeter.address]);
        let Part::Backend(backend) = &mut parts[0] else {
            panic!("the backend comes first")
        };
        backend.proxy_protocol = Some(version);
        let setup = Setup {
            edge: Edge {
                proxy_protocol: true,
                ..Edge::default()
            },
            ..Setup::default()
        };
        let running = serving(setup, vec![share("a", 1)], vec![parts]).await;
        let mut stream = TcpStream::connect(running.address("tcp")).await.unwrap();
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 80\r\n";
        stream
            .write_all(&[&header[..], b"rest"].concat())
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        let told = match version {
            ProxyVersion::V1 => header.to_vec(),
            ProxyVersion::V2 => [
                &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
                &[192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0, 80],
            ]
            .concat(),
        };
        assert_eq!(got, [b"a\n", &told[..], b"rest"].concat());
    }
}

#[tokio::test]
async fn without_a_header_in_front_the_backend_is_told_of_the_peer() {
    let greeter = Greeter::start("a").await;
    let mut parts = bytes_to("a", &[greeter.address]);
    let Part::Backend(backend) = &mut parts[0] else {
        panic!("the backend comes first")
    };
    backend.proxy_protocol = Some(ProxyVersion::V1);
    let running = serving(Setup::default(), vec![share("a", 1)], vec![parts]).await;
    let address = running.address("tcp");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let from = stream.local_addr().unwrap().port();
    stream.shutdown().await.unwrap();
    let told = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {}", address.port());
    assert_eq!(lines(stream).await.unwrap(), ["a", &told]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn established_connections_outlive_every_change_and_their_listener() {
    let (old, new) = (Greeter::start("old").await, Greeter::start("new").await);
    let running = Running::start().await;
    let at = |version: u64| {
        let name = if version == 1 { "old" } else { "new" };
        // Each version has other weights, so that each one is a change.
        let weight = u32::try_from(version).unwrap();
        let route = tcp_route("r", vec![share(name, weight)]);
        let backends = [
            bytes_to("old", &[old.address]),
            bytes_to("new", &[new.address]),
        ];
        let parts = [tcp(), Part::L4Route(route)];
        snapshot(
            version,
            parts.into_iter().chain(backends.into_iter().flatten()),
        )
    };
    running.configd.apply(&at(1)).await;
    let address = running.address("tcp");
    let talk = |mut stream: TcpStream| async move {
        for _ in 0..20 {
            stream.write_all(b"still there?").await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"still there?");
        }
        stream
    };
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(greeting(&mut stream).await.unwrap(), "old");
        open.push(stream);
    }
    let talking = tokio::task::spawn(async move {
        for _ in 0..20 {
            let talks = open.drain(..).map(talk);
            open = futures_util::future::join_all(talks).await;
        }
        open
    });
    for version in 2..=201 {
        running.configd.apply(&at(version)).await;
    }
    assert_eq!(greeted(address).await.unwrap(), "new");
    let http = [Part::from(listener())];
    running.configd.apply(&snapshot(202, http)).await;
    let refused = TcpStream::connect(address)
        .await
        .expect_err("the port is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for stream in talking.await.unwrap() {
        let mut stream = talk(stream).await;
        stream.shutdown().await.unwrap();
        assert_eq!(end(stream).await, None);
    }
}

#[tokio::test]
async fn a_drain_waits_for_established_connections() {
    let greeter = Greeter::start("a").await;
    let running = in_front_of(greeter.address).await;
    let address = running.address("tcp");
    let mut stream = TcpStream::connect(address).await.unwrap();
    greeting(&mut stream).await.unwrap();
    running.worker.drain();
    let finish = tokio::task::spawn({
        let drain = running.drain.clone();
        async move { drain.finish().await }
    });
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stream.write_all(b"last\n").await.unwrap();
    assert_eq!(greeting(&mut stream).await.unwrap(), "last");
    assert!(!finish.is_finished());
    drop(stream);
    assert_eq!(finish.await.unwrap(), DrainOutcome::Clean);
}
