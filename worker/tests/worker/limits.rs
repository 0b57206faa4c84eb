//! Bounds on what a backend is given: beyond them clients get 503, within them nobody is kept out.

use std::time::Duration;

use tidegate_ir::{Backend, BackendProtocol, ConnectionLimits, ObjectName, Part};

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::get;
use crate::support::parts::{backend_of, to};

fn bounded(echoes: &[&Echo], protocol: BackendProtocol, limits: ConnectionLimits) -> Vec<Part> {
    let addresses: Vec<_> = echoes.iter().map(|echo| echo.address).collect();
    let mut parts = backend_of("a", &addresses, protocol);
    parts[0] = Part::Backend(Backend {
        protocol,
        limits,
        ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
    });
    parts
}

#[tokio::test]
async fn an_unused_connection_makes_room_for_another_endpoint() {
    let one_connection = ConnectionLimits {
        connections: Some(1),
        ..ConnectionLimits::default()
    };
    for protocol in [BackendProtocol::Http1, BackendProtocol::Http2] {
        let (a, b) = (Echo::start("a").await, Echo::start("b").await);
        let parts = bounded(&[&a, &b], protocol, one_connection);
        let running = Running::serving(vec![to("/", "a")], vec![parts]).await;
        for _ in 0..8 {
            let answer = get(running.address("http"), "h", "/").await;
            assert_eq!(answer.status(), 200, "{protocol:?}");
        }
        assert_eq!((a.count(), b.count()), (4, 4), "{protocol:?}");
    }
}

#[tokio::test]
async fn requests_above_the_bound_get_503_and_later_ones_pass() {
    let slow = Echo::start_slow("a", Duration::from_secs(2)).await;
    let limits = ConnectionLimits {
        requests: Some(1),
        ..ConnectionLimits::default()
    };
    let parts = bounded(&[&slow], BackendProtocol::Http1, limits);
    let running = Running::serving(vec![to("/", "a")], vec![parts]).await;
    let address = running.address("http");
    let first = tokio::task::spawn(async move { get(address, "h", "/").await });
    while slow.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(address, "h", "/").await.status(), 503);
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(get(address, "h", "/").await.status(), 200);
    assert_eq!(slow.count(), 2);
}
