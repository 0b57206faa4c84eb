//! What a listener says about clients comes before the worker's own flags, port by port.

use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU64};

use tidegate_ir::{Cap, ClientTrust, Edge, EdgeBounds, Listener, Part, Snapshot};
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::backend::Echo;
use crate::support::client::{Kept, request, send, send_h2, send_raw};
use crate::support::configd::{Answer, snapshot};
use crate::support::parts::{attachment, backend, listener_at, route, to};
use crate::support::{Running, Setup};

const REQUEST: &str = "GET //a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

fn met(section: &str, port: u16, edge: Edge) -> Listener {
    Listener {
        edge: Box::new(edge),
        ..listener_at(section, port, "")
    }
}

fn serving(version: u64, echo: &Echo, listeners: &[Listener]) -> Snapshot {
    let mut route = route("r", vec![to("/", "a")]);
    let names = listeners.iter().map(|listener| &*listener.name);
    route.attachments = names.map(|name| attachment(name, &[""])).collect();
    let parts = listeners.iter().cloned().map(Part::from);
    let parts = parts.chain([Part::Route(route)]);
    snapshot(version, parts.chain(backend("a", &[echo.address])))
}

async fn running(setup: Setup, echo: &Echo, listeners: &[Listener]) -> Running {
    let running = Running::start_with(setup).await;
    running.configd.apply(&serving(1, echo, listeners)).await;
    running
}

fn bounded(bounds: EdgeBounds) -> Edge {
    Edge {
        bounds,
        ..Edge::default()
    }
}

fn seen(echo: &Echo, name: &str) -> String {
    let headers = echo.last().headers;
    let value = headers.get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

async fn tell(address: SocketAddr, forwarded_for: &str) {
    let request = request("GET", "h", "/").header("x-forwarded-for", forwarded_for);
    let answer = send(address, request.body(Default::default()).unwrap()).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn each_port_trusts_whom_its_listeners_trust() {
    let echo = Echo::start("a").await;
    let trusting = |trust| Edge {
        trust: Some(trust),
        ..Edge::default()
    };
    let listeners = [
        met("open", 80, Edge::default()),
        met("hops", 81, trusting(ClientTrust::Hops(NonZeroU8::MIN))),
        met("nobody", 82, trusting(ClientTrust::Nobody)),
    ];
    let own = tidegate_worker::Edge {
        trust: ClientTrust::Networks(vec!["127.0.0.0/8".parse().unwrap()]),
        ..Default::default()
    };
    let setup = Setup {
        edge: own,
        ..Setup::default()
    };
    let running = running(setup, &echo, &listeners).await;
    for (section, wanted) in [
        ("open", "6.6.6.6, 127.0.0.1"),
        ("hops", "6.6.6.6, 127.0.0.1"),
        ("nobody", "127.0.0.1"),
    ] {
        tell(running.address(section), "6.6.6.6").await;
        assert_eq!(seen(&echo, "x-forwarded-for"), wanted, "{section}");
    }
}

#[tokio::test]
async fn the_proxy_protocol_is_spoken_on_the_ports_that_want_it() {
    let echo = Echo::start("a").await;
    let wanting = |proxy_protocol| Edge {
        proxy_protocol: Some(proxy_protocol),
        ..Edge::default()
    };
    let listeners = [met("yes", 80, wanting(true)), met("no", 81, wanting(false))];
    let running = running(Setup::default(), &echo, &listeners).await;
    let header = "PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\n";
    let with_header = format!("{header}{REQUEST}");
    let answer = send_raw(running.address("yes"), with_header.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(seen(&echo, "x-forwarded-for"), "192.0.2.1");
    assert_eq!(
        send_raw(running.address("yes"), REQUEST.as_bytes()).await,
        ""
    );
    let answer = send_raw(running.address("no"), REQUEST.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = send_raw(running.address("no"), with_header.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn via_and_slashes_are_left_as_a_listener_wants_them() {
    let echo = Echo::start("a").await;
    let plain = Edge {
        send_via: Some(false),
        merge_slashes: Some(false),
        ..Edge::default()
    };
    let listeners = [met("usual", 80, Edge::default()), met("plain", 81, plain)];
    let running = running(Setup::default(), &echo, &listeners).await;
    for (section, via, path) in [("usual", "1.1 tidegate", "/a"), ("plain", "", "//a")] {
        send_raw(running.address(section), REQUEST.as_bytes()).await;
        assert_eq!(seen(&echo, "via"), via);
        assert_eq!(echo.last().uri, path);
    }
}

#[tokio::test]
async fn bounds_of_a_listener_hold_on_its_port_alone_by_either_version_of_http() {
    let echo = Echo::start("a").await;
    let small = bounded(EdgeBounds {
        request_body_bytes_max: Some(Cap::from(3)),
        ..EdgeBounds::default()
    });
    let unbounded = bounded(EdgeBounds {
        request_body_bytes_max: Some(Cap::Off),
        ..EdgeBounds::default()
    });
    let listeners = [
        met("usual", 80, Edge::default()),
        met("small", 81, small),
        met("any", 82, unbounded),
    ];
    let setup = Setup {
        limits: Limits {
            request_body_bytes_max: Some(4),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let running = running(setup, &echo, &listeners).await;
    for (section, body, status) in [
        ("usual", "four", 200),
        ("usual", "fives", 413),
        ("small", "for", 200),
        ("small", "four", 413),
        ("any", "as long as it likes", 200),
    ] {
        let asked = || {
            let request = request("POST", "h", "/");
            request.body(body.to_owned().into()).unwrap()
        };
        let address = running.address(section);
        assert_eq!(send(address, asked()).await.status(), status, "{body}");
        assert_eq!(send_h2(address, asked()).await.status(), status, "{body}");
    }
}

#[tokio::test]
async fn later_requests_of_an_open_connection_follow_the_new_snapshot() {
    let echo = Echo::start("a").await;
    let first = [met("http", 80, Edge::default())];
    let running = running(Setup::default(), &echo, &first).await;
    let mut kept = Kept::open(running.address("http")).await;
    let asked = |body: &str| {
        let request = request("POST", "h", "/").header("x-forwarded-for", "6.6.6.6");
        request.body(body.to_owned().into()).unwrap()
    };
    assert_eq!(kept.send(asked("four")).await.unwrap().status(), 200);
    assert_eq!(seen(&echo, "x-forwarded-for"), "127.0.0.1");
    let second = Edge {
        trust: Some(ClientTrust::Hops(NonZeroU8::MIN)),
        bounds: EdgeBounds {
            request_body_bytes_max: Some(Cap::from(3)),
            ..EdgeBounds::default()
        },
        ..Edge::default()
    };
    let second = serving(2, &echo, &[met("http", 80, second)]);
    running.configd.apply(&second).await;
    assert_eq!(kept.send(asked("for")).await.unwrap().status(), 200);
    assert_eq!(seen(&echo, "x-forwarded-for"), "6.6.6.6, 127.0.0.1");
    assert_eq!(kept.send(asked("four")).await.unwrap().status(), 413);
}

#[tokio::test]
async fn listeners_of_one_port_that_meet_clients_differently_are_refused() {
    let echo = Echo::start("a").await;
    let first = [met("http", 80, Edge::default())];
    let running = running(Setup::default(), &echo, &first).await;
    let other = Edge {
        proxy_protocol: Some(true),
        ..Edge::default()
    };
    let other = Listener {
        edge: Box::new(other),
        ..listener_at("other", 80, "b.example.com")
    };
    let second = serving(2, &echo, &[first[0].clone(), other]);
    let Answer::Nack(nack) = running.configd.send(&second).await else {
        panic!("it was taken");
    };
    let said = format!("{nack:?}");
    assert!(said.contains("infra/gw/other"), "{said}");
    assert!(said.contains("meet clients in another way"), "{said}");
    let answer = send_raw(running.address("http"), REQUEST.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_backend_is_told_the_port_that_the_gateway_states() {
    let echo = Echo::start("a").await;
    let moved = Listener {
        bind_port: 10_080,
        ..met("http", 80, Edge::default())
    };
    let running = running(Setup::default(), &echo, &[moved]).await;
    send_raw(running.address("http"), REQUEST.as_bytes()).await;
    assert_eq!(seen(&echo, "x-forwarded-port"), "80");
}

/// Opens a connection and keeps it, if it is served.
async fn open(address: SocketAddr, before: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{before}GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    // A connection that is closed at once may refuse the bytes, too.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.ok().map(|_| stream)
}

#[tokio::test]
async fn a_port_has_no_more_connections_than_it_may_over_all_threads() {
    let echo = Echo::start("a").await;
    let two = bounded(EdgeBounds {
        connections_max: NonZeroU64::new(2),
        ..EdgeBounds::default()
    });
    let listeners = [met("two", 80, two), met("usual", 81, Edge::default())];
    let running = running(Setup::default(), &echo, &listeners).await;
    let address = running.address("two");
    let held = [open(address, "").await, open(address, "").await];
    assert!(held.iter().all(Option::is_some));
    for _ in 0..4 {
        assert!(open(address, "").await.is_none(), "a third one is closed");
    }
    running
        .wait_for_metric("connections_ended_total{reason=\"too_many_of_port\"} 4")
        .await;
    assert!(open(running.address("usual"), "").await.is_some());
}

#[tokio::test]
async fn clients_behind_a_proxy_header_are_counted_by_their_own_addresses() {
    let echo = Echo::start("a").await;
    let one_each = Edge {
        proxy_protocol: Some(true),
        bounds: EdgeBounds {
            connections_per_client_max: Some(Cap::from(1)),
            ..EdgeBounds::default()
        },
        ..Edge::default()
    };
    let listeners = [met("http", 80, one_each)];
    let running = running(Setup::default(), &echo, &listeners).await;
    let address = running.address("http");
    let from = |client: u8| format!("PROXY TCP4 192.0.2.{client} 127.0.0.1 40000 80\r\n");
    let one = open(address, &from(1)).await;
    assert!(one.is_some());
    assert!(open(address, &from(1)).await.is_none());
    assert!(open(address, &from(2)).await.is_some());
    running
        .wait_for_metric("connections_ended_total{reason=\"too_many_of_client\"} 1")
        .await;
}
