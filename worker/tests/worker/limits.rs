//! Bounds on what a backend is given: beyond them clients get 503, within them nobody is kept out.

use std::time::Duration;

use tidegate_ir::{Backend, BackendProtocol, ConnectionLimits, Ejection, ObjectName, Part};
use tidegate_worker::Limits;

use crate::support::backend::Echo;
use crate::support::client::get;
use crate::support::parts::{backend_of, listener, to};
use crate::support::{Running, Setup};

fn bounded(echoes: &[&Echo], protocol: BackendProtocol, limits: ConnectionLimits) -> Vec<Part> {
    let addresses: Vec<_> = echoes.iter().map(|echo| echo.address).collect();
    let mut parts = backend_of("a", &addresses, protocol);
    parts[0] = Part::Backend(Box::new(Backend {
        protocol,
        limits,
        ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
    }));
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

#[tokio::test]
async fn an_endpoint_is_not_ejected_because_there_was_no_room_for_a_connection() {
    let slow = Echo::start_slow("a", Duration::from_secs(4)).await;
    let limits = ConnectionLimits {
        connections: Some(1),
        ..ConnectionLimits::default()
    };
    let other = Echo::start("b").await;
    let mut parts = bounded(&[&slow, &other], BackendProtocol::Http1, limits);
    let Part::Backend(backend) = &mut parts[0] else {
        panic!("the backend comes first");
    };
    backend.ejection = Some(Ejection {
        consecutive_errors: 1,
        base_ms: 3_600_000,
        max_percent: 100,
        panic_percent: 0,
    });
    let setup = Setup {
        limits: Limits {
            connect_timeout: Duration::from_secs(1),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let running = Running::serving_with(setup, listener(), vec![to("/", "a")], vec![parts]).await;
    let address = running.address("http");
    let mut first = None;
    // The slow one holds the only connection; whoever comes meanwhile finds no room.
    while slow.count() == 0 {
        let asking = tokio::task::spawn(async move { get(address, "h", "/").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        first = Some(asking);
    }
    assert_eq!(get(address, "h", "/").await.status(), 503);
    first.expect("it was asked").await.unwrap();
    let before = other.count();
    for _ in 0..2 {
        assert_eq!(get(address, "h", "/").await.status(), 200);
    }
    assert_eq!(other.count(), before + 1);
}
