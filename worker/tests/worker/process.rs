//! The worker as a process: options, signals, access log, traces.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidegate_ir::Part;
use tokio::net::TcpListener;

use crate::support::backend::{Echo, refusing};
use crate::support::client::{get, request, send};
use crate::support::configd::{Answer, Configd, POOL, snapshot};
use crate::support::parts::{backend, listener_at, route, to};

struct Process {
    child: Child,
    address: std::net::SocketAddr,
}

impl Process {
    async fn start(echo: &Echo, otlp: Option<std::net::SocketAddr>) -> Self {
        let configd = Configd::start().await;
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-worker"));
        command
            .args([
                "--configd",
                &format!("http://{}", configd.address),
                "--pool",
                POOL,
            ])
            .args([
                "--bind",
                "127.0.0.1",
                "--when-taken",
                "next",
                "--admin",
                "127.0.0.1:0",
            ])
            .args(["--drain-delay-s", "0", "--threads", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(otlp) = otlp {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{otlp}"));
        }
        let child = command.spawn().unwrap();
        let mut route = route("cart", vec![to("/", "a")]);
        route.attachments[0].listener = "infra/gw/web".into();
        let parts = [
            Part::Listener(listener_at("web", port, "")),
            Part::Route(route),
        ];
        let parts = parts.into_iter().chain(backend("a", &[echo.address]));
        let Answer::Ack(ack) = configd.send(&snapshot(6, parts)).await else {
            panic!("refused")
        };
        Self {
            child,
            address: ack.listeners[0].address.parse().unwrap(),
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn each_exchange_is_a_line_that_names_what_served_it() {
    let echo = Echo::start("a").await;
    let mut process = Process::start(&echo, None).await;
    get(process.address, "shop.example", "/x?y=1").await;
    let stdout = process.child.stdout.take().unwrap();
    let read = || BufReader::new(stdout).lines().next();
    let line = tokio::task::spawn_blocking(read)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
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
async fn a_signal_lets_open_requests_end_and_then_the_process() {
    let slow = Echo::start_slow("a", Duration::from_millis(500)).await;
    let mut process = Process::start(&slow, None).await;
    let address = process.address;
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
        let process = Process::start(&echo, otlp).await;
        let asked = request("GET", "h", "/").header("traceparent", SENT);
        send(process.address, asked.body(Default::default()).unwrap()).await;
        let seen = echo.last().headers["traceparent"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(seen[..36], SENT[..36], "the trace is the client's");
        assert_eq!(seen == SENT, otlp.is_none(), "{seen}");
    }
}
