//! The export of traces, against a collector in this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_runtime::telemetry::{LogFormat, Telemetry, TelemetryOptions};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Says that the process is the child.
const ROLE: &str = "TIDEGATE_TEST_OTLP";

/// Not a test by itself: the child's side, because the variables hold for a whole process.
#[test]
fn child() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let telemetry = Telemetry::init(&TelemetryOptions {
        service_name: "tidegate-test".to_owned(),
        log_format: LogFormat::Json,
        default_filter: "off".to_owned(),
    });
    let telemetry = telemetry.expect("the child installs once");
    println!("\nexports {}", telemetry.exports_traces());
    tracing::info_span!("GET /checkout").in_scope(|| ());
}

fn run_child(variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child", "--nocapture"])
        .env(ROLE, "child")
        .env_remove("OTEL_SERVICE_NAME")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env_remove("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .envs(variables.iter().copied())
        .output()
        .expect("this binary starts")
}

/// Keeps the path and the body of every export until the value is dropped.
struct Collector {
    addr: SocketAddr,
    received: Receiver<(String, Bytes)>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let bound = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = bound.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (send, received) = sync_channel(16);
        drop(runtime.handle().spawn(collect(listener, send)));
        Self {
            addr,
            received,
            _runtime: runtime,
        }
    }
}

async fn collect(listener: TcpListener, send: SyncSender<(String, Bytes)>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let send = send.clone();
        let service = service_fn(move |request| answer(request, send.clone()));
        let connection = http2::Builder::new(TokioExecutor::new());
        connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}

type Answer = Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>;

/// An empty `ExportTraceServiceResponse`: one gRPC frame of length zero, and the status.
async fn answer(
    request: Request<Incoming>,
    send: SyncSender<(String, Bytes)>,
) -> Result<Answer, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    send.try_send((path, body))
        .expect("the test reads every export");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    Ok(response)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn the_standard_variable_switches_the_export_on_and_the_end_flushes() {
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.addr);
    let output = run_child(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    assert!(output.status.success(), "{output:?}");

    let received = collector.received.recv_timeout(Duration::from_secs(5));
    let (path, body) = received.unwrap_or_else(|_| panic!("nothing arrived: {output:?}"));
    assert_eq!(
        path,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    );
    assert!(contains(&body, "GET /checkout"), "the span is missing");
    assert!(
        contains(&body, "tidegate-test"),
        "the service's name is missing"
    );
}

#[test]
fn the_name_from_the_environment_wins() {
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.addr);
    let name = ("OTEL_SERVICE_NAME", "edge-7");
    let output = run_child(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint), name]);
    let received = collector.received.recv_timeout(Duration::from_secs(5));
    let (_, body) = received.unwrap_or_else(|_| panic!("nothing arrived: {output:?}"));
    assert!(contains(&body, "edge-7"), "the service's name is missing");
}

#[test]
fn without_the_variable_nothing_is_exported() {
    let output = run_child(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("exports false"), "{text}");
}

#[test]
fn a_collector_that_is_away_does_not_hold_the_process() {
    let began = std::time::Instant::now();
    // Port 9 (discard) is not listened on: the connection is refused.
    let output = run_child(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        began.elapsed()
    );
}
