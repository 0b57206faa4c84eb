//! The order of endpoints, ejection and bounds, without sockets.

use tidegate_ir::{Ejection, Endpoint as IrEndpoint, ObjectName};

use super::*;

fn set(ports: &[(u16, bool)]) -> EndpointSet {
    let endpoints = ports.iter().map(|(port, draining)| IrEndpoint {
        address: SocketAddr::from(([127, 0, 0, 1], *port)),
        draining: *draining,
    });
    EndpointSet {
        name: "e".into(),
        endpoints: endpoints.collect(),
    }
}

fn backend() -> Backend {
    Backend::of_service("e", ObjectName::new("ns", "svc"), 80)
}

fn upstream(backend: Backend, ports: &[(u16, bool)], previous: Option<&Upstream>) -> Upstream {
    let members = Upstream::fixed(&backend, &set(ports), previous);
    Upstream::new(backend, members, vec![], previous)
}

fn ports(upstream: &Upstream, count: usize) -> Vec<u16> {
    let candidates = upstream.candidates(Wish::default(), count);
    candidates.map(|endpoint| endpoint.address.port()).collect()
}

fn ejecting() -> Backend {
    Backend {
        ejection: Some(Ejection {
            consecutive_errors: 2,
            base_ms: 60_000,
            max_percent: 50,
            panic_percent: 50,
        }),
        ..backend()
    }
}

fn fail(upstream: &Upstream, port: u16, times: usize) {
    let mut all = upstream.candidates(Wish::default(), 9);
    let endpoint = all
        .find(|endpoint| endpoint.address.port() == port)
        .unwrap();
    for _ in 0..times {
        upstream.report(&endpoint, true);
    }
}

#[test]
fn endpoints_take_turns_and_retries_go_to_others() {
    let upstream = upstream(backend(), &[(1, false), (2, false)], None);
    assert_eq!(ports(&upstream, 3), [1, 2]);
    assert_eq!(ports(&upstream, 3), [2, 1]);
}

#[test]
fn draining_endpoints_are_the_last_resort() {
    let mixed = upstream(backend(), &[(1, true), (2, false)], None);
    assert_eq!(ports(&mixed, 3), [2]);
    let drained = upstream(backend(), &[(1, true)], None);
    assert_eq!(ports(&drained, 3), [1]);
    assert_eq!(ports(&upstream(backend(), &[], None), 3), [0_u16; 0]);
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_left_out() {
    let upstream = upstream(ejecting(), &[(1, false), (2, false), (3, false)], None);
    fail(&upstream, 2, 1);
    assert_eq!(ports(&upstream, 9).len(), 3);
    fail(&upstream, 2, 1);
    assert_eq!(
        {
            let mut left = ports(&upstream, 9);
            left.sort_unstable();
            left
        },
        [1, 3]
    );
}

#[test]
fn no_more_than_the_share_is_ejected() {
    let upstream = upstream(ejecting(), &[(1, false), (2, false), (3, false)], None);
    fail(&upstream, 1, 2);
    fail(&upstream, 2, 9);
    assert_eq!(ports(&upstream, 9).len(), 2);
}

#[test]
fn ejections_are_ignored_when_too_few_are_healthy() {
    let backend = Backend {
        ejection: ejecting().ejection.map(|ejection| Ejection {
            max_percent: 100,
            panic_percent: 60,
            ..ejection
        }),
        ..backend()
    };
    let upstream = upstream(backend, &[(1, false), (2, false)], None);
    fail(&upstream, 1, 2);
    assert_eq!(ports(&upstream, 9).len(), 2);
}

#[test]
fn an_ejection_outlives_a_change_of_the_other_endpoints() {
    let before = upstream(ejecting(), &[(1, false), (2, false)], None);
    fail(&before, 1, 2);
    let after = upstream(
        ejecting(),
        &[(1, false), (2, false), (3, false)],
        Some(&before),
    );
    assert!(!ports(&after, 9).contains(&1));
}

#[test]
fn the_less_busy_endpoint_gets_the_request() {
    let backend = Backend {
        balancing: Balancing::LeastRequest,
        ..backend()
    };
    let upstream = upstream(backend, &[(1, false), (2, false)], None);
    let mut all = upstream.candidates(Wish::default(), 2);
    let busy = all.find(|endpoint| endpoint.address.port() == 1).unwrap();
    let _tickets: Vec<_> = (0..3).map(|_| upstream.admit(&busy)).collect();
    let firsts: Vec<u16> = (0..100).map(|_| ports(&upstream, 1)[0]).collect();
    assert!(firsts.iter().all(|port| *port == 2), "{firsts:?}");
}

#[test]
fn equal_keys_lead_to_one_endpoint() {
    let backend = Backend {
        balancing: Balancing::RingHash(HashKey::Cookie("user".into())),
        ..backend()
    };
    let upstream = upstream(backend, &[(1, false), (2, false), (3, false)], None);
    let client = SocketAddr::from(([127, 0, 0, 1], 9));
    let first = |user: usize| {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; user={user}").parse().unwrap());
        let hash = upstream.hash_of(&headers, client);
        let wish = Wish {
            hash,
            ..Wish::default()
        };
        upstream.candidates(wish, 1).next().unwrap().address.port()
    };
    let of_each: Vec<u16> = (0..30).map(first).collect();
    assert_eq!(of_each, (0..30).map(first).collect::<Vec<_>>());
    assert!((1..4).all(|port| of_each.contains(&port)), "{of_each:?}");
}

#[test]
fn a_session_stays_with_an_endpoint_that_drains_and_leaves_one_that_is_gone() {
    let drained = upstream(backend(), &[(1, true), (2, false)], None);
    let token = drained.token_of(SocketAddr::from(([127, 0, 0, 1], 1)));
    let pinned = drained.by_token(&token);
    assert!(pinned.is_some());
    let wish = Wish { pinned, hash: None };
    let order: Vec<u16> = drained
        .candidates(wish, 9)
        .map(|e| e.address.port())
        .collect();
    assert_eq!(order, [1, 2]);
    let gone = upstream(backend(), &[(2, false)], Some(&drained));
    assert!(gone.by_token(&token).is_none());
}

#[test]
fn more_requests_than_the_bound_are_refused_until_one_ends() {
    let backend = Backend {
        limits: ConnectionLimits {
            requests: Some(1),
            ..ConnectionLimits::default()
        },
        ..backend()
    };
    let upstream = upstream(backend, &[(1, false)], None);
    let endpoint = upstream.candidates(Wish::default(), 1).next().unwrap();
    let first = upstream.admit(&endpoint).unwrap();
    assert!(matches!(
        upstream.admit(&endpoint),
        Err(ProxyError::Overloaded)
    ));
    drop(first);
    assert!(upstream.admit(&endpoint).is_ok());
}
