//! The end of a worker: nothing that was accepted is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_ir::Part;
use tidegate_runtime::drain::DrainOutcome;
use tokio::net::TcpStream;

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::{Kept, get, request};
use crate::support::configd::snapshot;
use crate::support::parts::{backend, listener, route, to};

async fn serving(echo: &Echo) -> Running {
    let running = Running::start().await;
    let parts = [
        Part::from(listener()),
        Part::Route(route("r", vec![to("/", "a")])),
    ];
    let parts = parts.into_iter().chain(backend("a", &[echo.address]));
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_request() {
    let echo = Echo::start_slow("a", Duration::from_millis(5)).await;
    let running = serving(&echo).await;
    let address = running.address("http");
    let (ended, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (ended, answered) = (ended.clone(), answered.clone());
            tokio::task::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    // Only a connection that was accepted counts.
                    let Ok(mut kept) = Kept::try_open(address).await else {
                        return;
                    };
                    loop {
                        let asked = request("GET", "h", "/").body(Default::default()).unwrap();
                        let answer = kept.send(asked).await.expect("no request is lost");
                        assert_eq!(answer.status(), 200);
                        answered.fetch_add(1, Ordering::Relaxed);
                        if answer
                            .headers()
                            .get("connection")
                            .is_some_and(|value| value == "close")
                        {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.worker.drain();
    assert_eq!(running.drain.finish().await, DrainOutcome::Clean);
    ended.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_draining_worker_is_not_ready_and_lets_open_requests_end() {
    let slow = Echo::start_slow("a", Duration::from_millis(400)).await;
    let running = serving(&slow).await;
    running.readiness.ready().await;
    let address = running.address("http");
    let open = tokio::task::spawn(async move { get(address, "h", "/").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.worker.drain();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!running.readiness.is_ready());
    assert!(Kept::try_open(address).await.is_err());
    assert_eq!(open.await.unwrap().status(), 200);
    assert_eq!(running.drain.finish().await, DrainOutcome::Clean);
}

#[tokio::test]
async fn http2_connections_are_told_and_their_open_streams_end() {
    let slow = Echo::start_slow("a", Duration::from_millis(400)).await;
    let running = serving(&slow).await;
    let address = running.address("http");
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    let connection = tokio::task::spawn(connection);
    let asked = Request::builder().uri(format!("http://{address}/"));
    let open = sender.send_request(asked.body(Full::<Bytes>::default()).unwrap());
    let open = tokio::task::spawn(open);
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.worker.drain();
    assert_eq!(open.await.unwrap().unwrap().status(), 200);
    connection.await.unwrap().unwrap();
    assert_eq!(running.drain.finish().await, DrainOutcome::Clean);
}

#[tokio::test]
async fn a_worker_without_a_snapshot_is_not_ready() {
    let running = Running::start().await;
    assert!(!running.readiness.is_ready());
    assert_eq!(
        running.readiness.unmet()[0].reason,
        "no snapshot is applied yet"
    );
}
