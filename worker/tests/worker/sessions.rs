//! Session persistence: clients stay at their endpoint, by a cookie or a header.

use std::net::SocketAddr;

use tidegate_ir::{
    Action, Backend, Balancing, Endpoint, EndpointSet, ObjectName, Part, Rule, SessionCarrier,
    SessionPersistence,
};

use crate::support::Running;
use crate::support::backend::{Echo, refusing};
use crate::support::client::{Answer, request, send};
use crate::support::configd::snapshot;
use crate::support::parts::{backend, listener, prefix, route, rule, to, weighted};

fn cookie() -> SessionPersistence {
    SessionPersistence {
        name: "stay".into(),
        carrier: SessionCarrier::SessionCookie,
        absolute_timeout_ms: None,
        path: "/shop".into(),
    }
}

fn header() -> SessionPersistence {
    SessionPersistence {
        name: "x-stay".into(),
        carrier: SessionCarrier::Header,
        path: "".into(),
        ..cookie()
    }
}

fn with(session: SessionPersistence, mut rule: Rule) -> Rule {
    rule.session = Some(session.into());
    rule
}

async fn echoes(count: usize) -> Vec<Echo> {
    let mut echoes = vec![];
    for place in 0..count {
        echoes.push(Echo::start(&place.to_string()).await);
    }
    echoes
}

fn addresses(echoes: &[Echo]) -> Vec<SocketAddr> {
    echoes.iter().map(|echo| echo.address).collect()
}

async fn ask(running: &Running, headers: &[(&str, &str)]) -> Answer {
    let asked = request("GET", "h", "/shop");
    let asked = headers
        .iter()
        .fold(asked, |asked, (name, value)| asked.header(*name, *value));
    send(
        running.address("http"),
        asked.body(Default::default()).unwrap(),
    )
    .await
}

fn served_by(answer: &Answer) -> String {
    answer.headers()["x-backend"].to_str().unwrap().to_owned()
}

/// The `name=value` of the answer's cookie.
fn pair(answer: &Answer) -> String {
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_cookie_brings_a_client_back_to_its_endpoint() {
    let echoes = echoes(3).await;
    let rules = vec![with(cookie(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &addresses(&echoes))]).await;
    let first = ask(&running, &[]).await;
    let set = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.starts_with("stay="), "{set}");
    assert!(
        set.ends_with("; Path=/shop; HttpOnly; SameSite=Strict"),
        "{set}"
    );
    let port = echoes[0].address.port().to_string();
    assert!(!set.contains("127.0.0.1") && !set.contains(&port), "{set}");
    let pair = pair(&first);
    for _ in 0..50 {
        let answer = ask(&running, &[("cookie", &pair)]).await;
        assert_eq!(served_by(&answer), served_by(&first));
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    // The backend sees it, and others are balanced.
    let place: usize = served_by(&first).parse().unwrap();
    assert_eq!(echoes[place].last().headers["cookie"], pair);
    for _ in 0..6 {
        ask(&running, &[]).await;
    }
    assert!(echoes.iter().all(|echo| echo.count() >= 2));
}

#[tokio::test]
async fn a_cookie_is_found_among_others() {
    let echoes = echoes(3).await;
    let rules = vec![with(cookie(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &addresses(&echoes))]).await;
    let first = ask(&running, &[]).await;
    let pair = pair(&first);
    let among = format!("a=b; stay=stale; {pair}; c=d");
    for _ in 0..6 {
        let answer = ask(&running, &[("cookie", &among)]).await;
        assert_eq!(served_by(&answer), served_by(&first));
        let answer = ask(&running, &[("cookie", "a=b"), ("cookie", &pair)]).await;
        assert_eq!(served_by(&answer), served_by(&first));
    }
}

#[tokio::test]
async fn a_header_brings_a_client_back_to_its_endpoint() {
    let echoes = echoes(3).await;
    let rules = vec![with(header(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &addresses(&echoes))]).await;
    let first = ask(&running, &[]).await;
    assert!(!first.headers().contains_key("set-cookie"));
    let value = first.headers()["x-stay"].to_str().unwrap().to_owned();
    for _ in 0..20 {
        let answer = ask(&running, &[("x-stay", &value)]).await;
        assert_eq!(served_by(&answer), served_by(&first));
    }
}

#[tokio::test]
async fn a_permanent_cookie_lasts_as_long_as_the_session() {
    let echoes = echoes(2).await;
    let permanent = SessionPersistence {
        carrier: SessionCarrier::PermanentCookie,
        absolute_timeout_ms: Some(300_000),
        ..cookie()
    };
    let rules = vec![with(permanent, to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &addresses(&echoes))]).await;
    let first = ask(&running, &[]).await;
    let set = first.headers()["set-cookie"].to_str().unwrap();
    assert!(set.ends_with("; Max-Age=300"), "{set}");
}

#[tokio::test]
async fn a_session_ends_after_its_timeout_whatever_the_client_keeps() {
    let echoes = echoes(2).await;
    let short = SessionPersistence {
        absolute_timeout_ms: Some(100),
        ..cookie()
    };
    let rules = vec![with(short, to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &addresses(&echoes))]).await;
    let pair = pair(&ask(&running, &[]).await);
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let answer = ask(&running, &[("cookie", &pair)]).await;
    assert!(answer.headers().contains_key("set-cookie"));
}

#[tokio::test]
async fn a_value_that_was_made_up_leads_to_no_address() {
    let (echo, secret) = (Echo::start("a").await, Echo::start("secret").await);
    let rules = vec![with(cookie(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let address = secret.address.to_string();
    let zeros = format!("{}-18bcfe56800", "0".repeat(32));
    for made_up in [&*address, &*zeros, "", ".", "-", "ééé"] {
        let cookie = format!("stay={made_up}");
        let answer = ask(&running, &[("cookie", &cookie)]).await;
        assert_eq!(served_by(&answer), "a", "{made_up}");
        assert!(answer.headers().contains_key("set-cookie"), "{made_up}");
    }
    assert_eq!(secret.count(), 0);
}

fn snapshot_of(version: u64, endpoints: &[(SocketAddr, bool)]) -> tidegate_ir::Snapshot {
    let mut endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, draining)| Endpoint {
            address: *address,
            draining: *draining,
        })
        .collect();
    endpoints.sort();
    let parts = [
        Part::from(listener()),
        Part::Route(route("r", vec![with(cookie(), to("/", "a"))])),
        Part::Backend(Box::new(Backend {
            balancing: Balancing::RoundRobin,
            ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
        })),
        Part::EndpointSet(EndpointSet {
            name: "a".into(),
            endpoints,
        }),
    ];
    snapshot(version, parts)
}

#[tokio::test]
async fn a_draining_endpoint_keeps_its_sessions_and_a_vanished_one_does_not() {
    let echoes = echoes(3).await;
    let with_drain = |drained: Option<usize>| {
        let places = echoes.iter().enumerate();
        places
            .map(|(place, echo)| (echo.address, drained == Some(place)))
            .collect::<Vec<_>>()
    };
    let running = Running::start().await;
    running
        .configd
        .apply(&snapshot_of(1, &with_drain(None)))
        .await;
    let first = ask(&running, &[]).await;
    let kept = pair(&first);
    let place: usize = served_by(&first).parse().unwrap();
    running
        .configd
        .apply(&snapshot_of(2, &with_drain(Some(place))))
        .await;
    for _ in 0..6 {
        assert_eq!(
            served_by(&ask(&running, &[("cookie", &kept)]).await),
            served_by(&first)
        );
        assert_ne!(served_by(&ask(&running, &[]).await), served_by(&first));
    }
    let mut left = with_drain(None);
    left.remove(place);
    running.configd.apply(&snapshot_of(3, &left)).await;
    let moved = ask(&running, &[("cookie", &kept)]).await;
    assert_ne!(served_by(&moved), served_by(&first));
    let renewed = pair(&moved);
    for _ in 0..6 {
        let answer = ask(&running, &[("cookie", &renewed)]).await;
        assert_eq!(served_by(&answer), served_by(&moved));
    }
}

#[tokio::test]
async fn a_client_of_a_dead_endpoint_gets_another_and_stays_there() {
    let echo = Echo::start("alive").await;
    let dead = refusing().await;
    let rules = vec![with(cookie(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &[dead, echo.address])]).await;
    for _ in 0..4 {
        let answer = ask(&running, &[]).await;
        assert_eq!(served_by(&answer), "alive");
        let again = ask(&running, &[("cookie", &pair(&answer))]).await;
        assert!(!again.headers().contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn weights_decide_first_and_each_backend_keeps_its_own_session() {
    let (left, right) = (echoes(3).await, echoes(3).await);
    let unused = Echo::start("unused").await;
    let choices = vec![
        weighted("left", 7),
        weighted("right", 3),
        weighted("unused", 0),
    ];
    let shared = with(cookie(), rule(vec![prefix("/")], Action::Forward(choices)));
    let backends = vec![
        backend("left", &addresses(&left)),
        backend("right", &addresses(&right)),
        backend("unused", &[unused.address]),
    ];
    let running = Running::serving(vec![shared], backends).await;
    let mut jar = String::new();
    for _ in 0..100 {
        let answer = ask(&running, &[("cookie", &jar)]).await;
        if answer.headers().contains_key("set-cookie") {
            jar = pair(&answer);
        }
    }
    for (echoes, share) in [(&left, 70), (&right, 30)] {
        let mut counts: Vec<_> = echoes.iter().map(Echo::count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, share]);
    }
    assert_eq!(unused.count(), 0);
}

#[tokio::test]
async fn a_backends_own_session_holds_where_the_rule_has_none() {
    let echoes = echoes(3).await;
    let mut parts = backend("a", &addresses(&echoes));
    parts[0] = Part::Backend(Box::new(Backend {
        session: Some(header()),
        ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
    }));
    let rules = vec![to("/own", "a"), with(cookie(), to("/", "a"))];
    let running = Running::serving(rules, vec![parts]).await;
    let answer = ask(&running, &[]).await;
    assert!(answer.headers().contains_key("set-cookie"));
    assert!(!answer.headers().contains_key("x-stay"));
    let own = request("GET", "h", "/own")
        .body(Default::default())
        .unwrap();
    let answer = send(running.address("http"), own).await;
    assert!(answer.headers().contains_key("x-stay"));
}

#[tokio::test]
async fn workers_of_a_pool_agree_on_sessions() {
    let echoes = echoes(3).await;
    let start = || {
        let rules = vec![with(cookie(), to("/", "a"))];
        Running::serving(rules, vec![backend("a", &addresses(&echoes))])
    };
    let (one, other) = (start().await, start().await);
    for _ in 0..5 {
        let first = ask(&one, &[]).await;
        let second = ask(&other, &[("cookie", &pair(&first))]).await;
        assert_eq!(served_by(&second), served_by(&first));
    }
}
