//! New snapshots: whole or not at all, and never at the cost of a request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_ir::{Filter, Part, Rule, Snapshot};
use tokio::net::TcpListener;

use crate::support::backend::Echo;
use crate::support::client::{Kept, get, request};
use crate::support::configd::{Answer, Configd, changes, snapshot, whole};
use crate::support::parts::{attachment, backend, edits, listener, listener_at, route, to};
use crate::support::{Running, Setup};

/// A snapshot that says its version in a response header and forwards to the backend of its parity.
fn telling(version: u64, backends: &[Vec<Part>; 2]) -> Snapshot {
    let name = if version.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    let mut rule: Rule = to("/", name);
    let says = edits(&[("x-version", &version.to_string())], &[], &[]);
    rule.filters = vec![Filter::ResponseHeaders(says)];
    let parts = [Part::from(listener()), Part::Route(route("r", vec![rule]))];
    snapshot(
        version,
        parts.into_iter().chain(backends.iter().flatten().cloned()),
    )
}

fn simple(version: u64, echo: &Echo) -> Snapshot {
    let parts = [
        Part::from(listener()),
        Part::Route(route("r", vec![to("/", "a")])),
    ];
    snapshot(
        version,
        parts.into_iter().chain(backend("a", &[echo.address])),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_snapshots_change_and_each_is_explained_by_one_version() {
    let (even, odd) = (Echo::start("even").await, Echo::start("odd").await);
    let backends = [
        backend("even", &[even.address]),
        backend("odd", &[odd.address]),
    ];
    let running = Running::start().await;
    let mut current = telling(1, &backends);
    running.configd.apply(&current).await;
    let address = running.address("http");
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let stop = stop.clone();
            tokio::task::spawn(async move {
                let mut kept = Kept::open(address).await;
                let (mut requests, mut versions, mut newest) = (0_u64, BTreeSet::new(), 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    let asked = request("GET", "h", "/").body(Default::default()).unwrap();
                    let answer = kept.send(asked).await.expect("no request fails");
                    assert_eq!(answer.status(), 200);
                    let version = answer.headers()["x-version"].to_str().unwrap();
                    let version: u64 = version.parse().unwrap();
                    let expected = if version.is_multiple_of(2) {
                        "even"
                    } else {
                        "odd"
                    };
                    assert_eq!(answer.headers()["x-backend"], expected);
                    assert_eq!(&answer.body()[..], expected.as_bytes());
                    assert!(version >= newest, "version {version} after {newest}");
                    newest = version;
                    versions.insert(version);
                    requests += 1;
                }
                (requests, versions)
            })
        })
        .collect();
    for version in 2..=101 {
        let next = telling(version, &backends);
        running.configd.send_pieces(vec![changes(&current, &next)]);
        assert!(matches!(running.configd.answer().await, Answer::Ack(_)));
        current = next;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut versions) = (0, BTreeSet::new());
    for client in clients {
        let (sent, seen) = client.await.unwrap();
        requests += sent;
        versions.extend(seen);
    }
    assert!(
        requests > 100 && versions.len() > 10,
        "{requests} requests, {} versions",
        versions.len()
    );
    assert!(versions.contains(&101));
}

#[tokio::test]
async fn a_refused_snapshot_leaves_the_one_before_in_use() {
    let echo = Echo::start("a").await;
    let running = Running::start().await;
    let first = simple(1, &echo);
    running.configd.apply(&first).await;
    let dangling = Part::Route(route("r", vec![to("/", "missing")]));
    let second = snapshot(2, [Part::from(listener()), dangling]);
    let Answer::Nack(nack) = running.configd.send(&second).await else {
        panic!("applied")
    };
    let part = nack.problems[0].part.as_ref().unwrap();
    assert_eq!(part.name, "HTTPRoute/shop/r");
    assert!(
        nack.problems[0].message.contains("missing"),
        "{:?}",
        nack.problems
    );
    assert_eq!(running.worker.version(), 1);
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
    running.configd.apply(&simple(3, &echo)).await;
}

#[tokio::test]
async fn damaged_bytes_are_refused() {
    let echo = Echo::start("a").await;
    let running = Running::start().await;
    running.configd.apply(&simple(1, &echo)).await;
    let mut update = whole(&simple(2, &echo));
    let mut content = update.blobs[0].content.to_vec();
    content[0] ^= 1;
    update.blobs[0].content = content.into();
    running.configd.send_pieces(vec![update]);
    let Answer::Nack(nack) = running.configd.answer().await else {
        panic!("applied")
    };
    assert!(
        nack.problems
            .iter()
            .any(|p| p.message.contains("other bytes")),
        "{nack:?}"
    );
    assert_eq!(running.worker.version(), 1);
}

#[tokio::test]
async fn an_older_version_is_refused() {
    let echo = Echo::start("a").await;
    let running = Running::start().await;
    running.configd.apply(&simple(5, &echo)).await;
    let Answer::Nack(nack) = running.configd.send(&simple(4, &echo)).await else {
        panic!("went back")
    };
    assert!(nack.problems[0].message.contains("not newer"), "{nack:?}");
    assert_eq!(running.worker.version(), 5);
}

#[tokio::test]
async fn the_first_version_of_a_chain_that_began_anew_is_newer() {
    let echo = Echo::start("a").await;
    let running = Running::start().await;
    running.configd.apply(&simple(5, &echo)).await;
    let anew = simple(1, &echo).of_epoch(9);
    assert!(matches!(running.configd.send(&anew).await, Answer::Ack(_)));
    assert_eq!(running.worker.version(), 1);
    let Answer::Nack(nack) = running.configd.send(&simple(6, &echo)).await else {
        panic!("went back to the chain before")
    };
    assert!(nack.problems[0].message.contains("not newer"), "{nack:?}");
}

#[tokio::test]
async fn pieces_make_one_update() {
    let echo = Echo::start("a").await;
    let running = Running::start().await;
    let whole = whole(&simple(1, &echo));
    let mut pieces: Vec<_> = whole
        .put
        .iter()
        .map(|part| {
            let blobs = whole
                .blobs
                .iter()
                .filter(|blob| blob.digest == part.digest)
                .cloned();
            let (put, blobs) = (vec![part.clone()], blobs.collect());
            tidegate_proto::snapshots::v1::Update {
                put,
                blobs,
                last: false,
                ..whole.clone()
            }
        })
        .collect();
    pieces.last_mut().unwrap().last = true;
    assert!(pieces.len() > 2);
    running.configd.send_pieces(pieces);
    assert!(matches!(running.configd.answer().await, Answer::Ack(_)));
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
}

#[tokio::test]
async fn the_last_good_snapshot_is_served_before_configd_is_up() {
    let echo = Echo::start("a").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("last-good");
    let setup = Setup {
        last_good: Some(file.clone()),
        ..Setup::default()
    };
    let running = Running::start_with(setup.clone()).await;
    running.configd.apply(&simple(3, &echo)).await;
    running.worker.drain();
    running.drain.finish().await;
    assert!(file.exists());

    let mut configd = Configd::start().await;
    configd.address = crate::support::backend::refusing().await;
    let mut again = Running::start_at(configd, setup).await;
    let serves = tokio::time::timeout(Duration::from_secs(5), again.worker.serves(3));
    assert!(serves.await.expect("in time"));
    assert_eq!(get(again.address("http"), "h", "/").await.status(), 200);
    again.readiness.ready().await;
}

#[tokio::test]
async fn a_worker_says_what_it_has_when_it_subscribes() {
    let echo = Echo::start("a").await;
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        last_good: Some(folder.path().join("f")),
        ..Setup::default()
    };
    let running = Running::start_with(setup.clone()).await;
    running.configd.apply(&simple(3, &echo)).await;
    assert_eq!(running.configd.hellos()[0].have, None);
    running.worker.drain();
    running.drain.finish().await;
    let again = Running::start_with(setup).await;
    let next = simple(4, &echo);
    again
        .configd
        .send_pieces(vec![changes(&simple(3, &echo), &next)]);
    assert!(matches!(again.configd.answer().await, Answer::Ack(_)));
    let have = again.configd.hellos()[0].have.clone().unwrap();
    assert_eq!(have.version, 3);
}

#[tokio::test]
async fn a_taken_port_is_refused_by_name_and_the_rest_is_served_on() {
    let echo = Echo::start("a").await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, taken_port) = (
        free.local_addr().unwrap().port(),
        taken.local_addr().unwrap().port(),
    );
    drop(free);
    let running = Running::start_with(Setup {
        exact_ports: true,
        ..Setup::default()
    })
    .await;
    let good = listener_at("http", port, "");
    let route = || Part::Route(route("r", vec![to("/", "a")]));
    let backends = || backend("a", &[echo.address]);
    let first = [Part::from(good.clone()), route()]
        .into_iter()
        .chain(backends());
    running.configd.apply(&snapshot(1, first)).await;
    let bad = Part::from(listener_at("taken", taken_port, ""));
    let second = [Part::from(good), bad, route()]
        .into_iter()
        .chain(backends());
    let Answer::Nack(nack) = running.configd.send(&snapshot(2, second)).await else {
        panic!("applied")
    };
    assert_eq!(
        nack.problems[0].part.as_ref().unwrap().name,
        "infra/gw/taken"
    );
    assert!(
        nack.problems[0]
            .message
            .contains(&format!("port {taken_port}")),
        "{nack:?}"
    );
    assert!(nack.problems[0].message.contains("in use"), "{nack:?}");
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
}

#[tokio::test]
async fn a_removed_listener_closes_and_its_open_requests_end() {
    let slow = Echo::start_slow("slow", Duration::from_millis(300)).await;
    let running = Running::start().await;
    let two = |version| {
        let mut route = route("r", vec![to("/", "a")]);
        route.attachments = vec![attachment("infra/gw/http", &[""])];
        let mut listeners = vec![Part::from(listener())];
        if version == 1 {
            listeners.push(Part::from(listener_at("extra", 81, "")));
            route.attachments.push(attachment("infra/gw/extra", &[""]));
        }
        let parts = listeners.into_iter().chain([Part::Route(route)]);
        snapshot(version, parts.chain(backend("a", &[slow.address])))
    };
    let ack = running.configd.apply(&two(1)).await;
    assert_eq!(ack.listeners.len(), 2);
    let extra = running.address("extra");
    let open = tokio::task::spawn(async move { get(extra, "h", "/").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.configd.apply(&two(2)).await;
    assert_eq!(open.await.unwrap().status(), 200);
    assert!(Kept::try_open(extra).await.is_err());
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
}

#[tokio::test]
async fn a_port_that_was_given_up_can_be_asked_for_again() {
    let echo = Echo::start("a").await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let running = Running::start_with(Setup {
        exact_ports: true,
        ..Setup::default()
    })
    .await;
    for version in 1..=10 {
        let with = version % 2 == 1;
        let listener = with.then(|| Part::from(listener_at("http", port, "")));
        let route = with.then(|| Part::Route(route("r", vec![to("/", "a")])));
        let parts = listener
            .into_iter()
            .chain(route)
            .chain(backend("a", &[echo.address]));
        let ack = running.configd.apply(&snapshot(version, parts)).await;
        assert_eq!(ack.listeners.len(), usize::from(with), "version {version}");
        if with {
            assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
        }
    }
}
