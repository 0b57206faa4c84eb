//! The admin port through its socket.

use std::net::SocketAddr;

use http::StatusCode;
use tidegate_runtime::admin::{AdminError, AdminServer, text_response};
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tidegate_runtime::telemetry::{LogFormat, Telemetry, TelemetryOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A served admin port; it ends with the value.
struct Served {
    addr: SocketAddr,
    _server: JoinSet<()>,
}

impl Served {
    async fn start(server: AdminServer) -> Self {
        let bound = server.bind(ANY_PORT).await.expect("a free port");
        let addr = bound.local_addr();
        let mut tasks = JoinSet::new();
        tasks.spawn(bound.serve(std::future::pending()));
        Self {
            addr,
            _server: tasks,
        }
    }

    /// The status and everything after it.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.addr)
            .await
            .expect("the port is open");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the server reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("the server answers");
        let status = answer.split(' ').nth(1).expect("a status line");
        (status.parse().expect("a number"), answer)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await
    }
}

fn server(readiness: &Readiness) -> AdminServer {
    AdminServer::new(Metrics::new("tidegate", "test", "1.2.3"), readiness.clone())
}

#[tokio::test]
async fn readyz_names_what_is_missing_until_nothing_is() {
    let readiness = Readiness::new();
    let snapshot = readiness.condition("snapshot", "no snapshot applied yet");
    let admin = Served::start(server(&readiness)).await;

    let (status, body) = admin.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body.ends_with("snapshot: no snapshot applied yet\n"),
        "{body}"
    );
    assert_eq!(admin.get("/startupz").await.0, 503);
    assert_eq!(admin.get("/livez").await.0, 200);

    snapshot.set();
    assert_eq!(admin.get("/readyz").await.0, 200);
    snapshot.unset("draining");
    assert_eq!(admin.get("/readyz").await.0, 503);
    assert_eq!(admin.get("/startupz").await.0, 200);
}

#[tokio::test]
async fn metrics_are_served_as_openmetrics() {
    let admin = Served::start(server(&Readiness::new())).await;
    let (status, answer) = admin.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(
        answer.contains("content-type: application/openmetrics-text"),
        "{answer}"
    );
    assert!(answer.contains("tidegate_build_info{"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn an_added_page_is_served_and_an_unknown_path_lists_the_pages() {
    let page = || text_response(StatusCode::OK, "version 7\n");
    let admin = Served::start(server(&Readiness::new()).route("/debug/snapshot", page)).await;
    let (status, answer) = admin.get("/debug/snapshot").await;
    assert_eq!(status, 200);
    assert!(answer.ends_with("version 7\n"), "{answer}");
    let (status, answer) = admin.get("/debug/nothing").await;
    assert_eq!(status, 404);
    assert!(answer.contains("/debug/snapshot\n"), "{answer}");
    assert_eq!(admin.ask("POST", "/debug/snapshot", "").await.0, 405);
}

#[tokio::test]
async fn the_log_filter_is_changed_while_running() {
    let telemetry = Telemetry::init(&TelemetryOptions {
        service_name: "test".to_owned(),
        log_format: LogFormat::Text,
        default_filter: "warn".to_owned(),
    });
    let telemetry = telemetry.expect("no other test of this file installs a subscriber");
    let admin = server(&Readiness::new()).log_filter(telemetry.log_filter());
    let admin = Served::start(admin).await;

    let (status, answer) = admin.ask("PUT", "/debug/log", "debug\n").await;
    assert_eq!(status, 200, "{answer}");
    assert!(admin.get("/debug/log").await.1.ends_with("debug\n"));
    assert!(tracing::enabled!(tracing::Level::DEBUG));

    let (status, answer) = admin.ask("PUT", "/debug/log", "a=b=c").await;
    assert_eq!(status, 400);
    assert!(answer.contains("`a=b=c` is no log filter"), "{answer}");
    let (status, _) = admin.ask("PUT", "/debug/log", &"x".repeat(2000)).await;
    assert_eq!(status, 413);
    assert!(admin.get("/debug/log").await.1.ends_with("debug\n"));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out() {
    let admin = Served::start(server(&Readiness::new())).await;
    let refused = server(&Readiness::new()).bind(admin.addr).await;
    let error = refused.expect_err("the port is taken");
    assert!(matches!(error, AdminError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(&admin.addr.to_string()), "{text}");
    assert!(text.contains("choose another address"), "{text}");
}
