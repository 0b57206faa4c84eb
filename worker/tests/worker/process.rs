//! The worker as a process: options, signals, access log, traces.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use tidegate_ir::{BackendProtocol, L4RouteKind, ListenerProtocol, Part};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::backend::{Echo, refusing};
use crate::support::bytes::{Greeter, lines};
use crate::support::client::{get, request, send};
use crate::support::configd::snapshot;
use crate::support::parts::{
    attachment, backend, backend_of, l4_listener, l4_route, listener_at, route, share, to,
};
use crate::support::process::{Process, free_port};
use crate::support::udp::{UdpClient, UdpEcho, dns};

async fn start(echo: &Echo, otlp: Option<std::net::SocketAddr>) -> Process {
    let variables = otlp.map(|otlp| ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{otlp}")));
    let process = Process::start(&["--when-taken", "next"], variables).await;
    let mut route = route("cart", vec![to("/", "a")]);
    route.attachments[0].listener = "infra/gw/web".into();
    let parts = [
        Part::from(listener_at("web", free_port(), "")),
        Part::Route(route),
    ];
    let parts = parts.into_iter().chain(backend("a", &[echo.address]));
    process.apply(&snapshot(6, parts)).await;
    process
}

/// The first line of the access log.
async fn line(process: &mut Process) -> serde_json::Value {
    let stdout = process.child.stdout.take().unwrap();
    let read = || BufReader::new(stdout).lines().next();
    let line = tokio::task::spawn_blocking(read).await.unwrap();
    serde_json::from_str(&line.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn each_exchange_is_a_line_that_names_what_served_it() {
    let echo = Echo::start("a").await;
    let mut process = start(&echo, None).await;
    get(process.address("web"), "shop.example", "/x?y=1").await;
    let line = line(&mut process).await;
    for (field, expected) in [
        ("method", "GET"),
        ("host", "shop.example"),
        ("path", "/x"),
        ("query", "y=1"),
        ("gateway", "infra/gw"),
        ("listener", "web"),
        ("route", "shop/cart"),
        ("rule", "0"),
        ("backend", "a"),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert_eq!(
        (&line["status"], &line["snapshot_version"]),
        (&200.into(), &6.into())
    );
    assert_eq!(line["response_bytes"], 1);
    assert!(
        line["duration_us"].as_u64() >= line["upstream_us"].as_u64(),
        "{line}"
    );
}

#[tokio::test]
async fn each_connection_of_layer_4_is_a_line_when_it_ends() {
    let greeter = Greeter::start("a").await;
    let mut process = Process::start(&["--when-taken", "next"], None).await;
    let listener = l4_listener("db", free_port(), "", ListenerProtocol::Tcp);
    let attachments = vec![attachment("infra/gw/db", &[""])];
    let route = l4_route(L4RouteKind::Tcp, "db", attachments, vec![share("a", 1)]);
    let parts = [Part::from(listener), Part::L4Route(route)];
    let backend = backend_of("a", &[greeter.address], BackendProtocol::Tcp);
    process
        .apply(&snapshot(6, parts.into_iter().chain(backend)))
        .await;
    let mut stream = TcpStream::connect(process.address("db")).await.unwrap();
    let client = stream.local_addr().unwrap();
    stream.write_all(b"four").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(lines(stream).await.unwrap(), ["a", "four"]);
    let line = line(&mut process).await;
    for (field, expected) in [
        ("client", "127.0.0.1"),
        ("peer", &client.to_string()),
        ("protocol", "tcp"),
        ("gateway", "infra/gw"),
        ("listener", "db"),
        ("route", "shop/db"),
        ("rule", "0"),
        ("backend", "a"),
        ("endpoint", &greeter.address.to_string()),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    for (field, expected) in [
        ("received_bytes", 4),
        ("sent_bytes", 6),
        ("retries", 0),
        ("snapshot_version", 6),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    let empty = ["reason", "server_name"].map(|field| line[field].is_null());
    assert_eq!(empty, [true; 2], "{line}");
    assert!(
        line["duration_us"].as_u64() >= line["connect_us"].as_u64(),
        "{line}"
    );
}

#[tokio::test]
async fn a_signal_lets_open_requests_end_and_then_the_process() {
    let slow = Echo::start_slow("a", Duration::from_millis(500)).await;
    let mut process = start(&slow, None).await;
    let address = process.address("web");
    let open = tokio::task::spawn(async move { get(address, "h", "/").await.status() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    process.signal("TERM");
    assert_eq!(open.await.unwrap(), 200);
    for _ in 0..1000 {
        if let Some(status) = process.child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the process did not end in ten seconds");
}

#[tokio::test]
async fn a_trace_goes_on_with_the_workers_span_and_untouched_without_export() {
    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let echo = Echo::start("a").await;
    for otlp in [None, Some(refusing().await)] {
        let process = start(&echo, otlp).await;
        let asked = request("GET", "h", "/").header("traceparent", SENT);
        send(
            process.address("web"),
            asked.body(Default::default()).unwrap(),
        )
        .await;
        let seen = echo.last().headers["traceparent"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(seen[..36], SENT[..36], "the trace is the client's");
        assert_eq!(seen == SENT, otlp.is_none(), "{seen}");
    }
}

#[tokio::test]
async fn each_udp_flow_is_a_line_when_it_ends() {
    let echo = UdpEcho::start("answer to ").await;
    let flags = ["--limit", "udp-idle-timeout=100ms", "--when-taken", "next"];
    let mut process = Process::start(&flags, None).await;
    process.apply(&snapshot(7, dns(&[echo.address]))).await;
    let client = UdpClient::of(process.address("dns")).await;
    assert_eq!(client.ask("one").await, "answer to one");
    let stdout = process.child.stdout.take().unwrap();
    let read = || BufReader::new(stdout).lines().next();
    let line = tokio::task::spawn_blocking(read).await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    for (field, expected) in [
        ("protocol", "udp"),
        ("reason", "idle"),
        ("gateway", "infra/gw"),
        ("listener", "dns"),
        ("route", "shop/r"),
        ("rule", "0"),
        ("backend", "a"),
        ("endpoint", &*echo.address.to_string()),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    for (field, expected) in [
        ("received_datagrams", 1),
        ("received_bytes", 3),
        ("sent_datagrams", 1),
        ("sent_bytes", 13),
        ("snapshot_version", 7),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
}
