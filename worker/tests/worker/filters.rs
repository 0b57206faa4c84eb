//! What rules do to requests and answers on the way.

use std::time::Duration;

use tidegate_ir::{Action, Filter, Mirror, Part, PathEdit, Rewrite, Rule};
use tidegate_worker::Limits;

use crate::support::backend::{Echo, refusing};
use crate::support::client::{get, request, send};
use crate::support::configd::snapshot;
use crate::support::parts::{backend, edits, listener, prefix, route, rule, to};
use crate::support::{Running, Setup};

async fn serving(rules: Vec<Rule>, backends: Vec<Vec<Part>>) -> Running {
    let running = Running::start().await;
    let parts = [Part::from(listener()), Part::Route(route("r", rules))];
    let parts = parts.into_iter().chain(backends.into_iter().flatten());
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

fn with(mut rule: Rule, filters: Vec<Filter>) -> Rule {
    rule.filters = filters;
    rule
}

#[tokio::test]
async fn headers_are_set_added_and_removed_both_ways() {
    let echo = Echo::start("a").await;
    let request_edits = edits(&[("x-set", "new")], &[("x-add", "2")], &["x-remove"]);
    let response_edits = edits(&[("x-version", "7")], &[], &["x-backend"]);
    let filters = vec![
        Filter::RequestHeaders(request_edits),
        Filter::ResponseHeaders(response_edits),
    ];
    let running = serving(
        vec![with(to("/", "a"), filters)],
        vec![backend("a", &[echo.address])],
    )
    .await;
    let asked = request("GET", "h", "/")
        .header("x-set", "old")
        .header("x-add", "1");
    let asked = asked
        .header("x-remove", "1")
        .body(Default::default())
        .unwrap();
    let answer = send(running.address("http"), asked).await;
    assert_eq!(answer.headers()["x-version"], "7");
    assert!(!answer.headers().contains_key("x-backend"));
    let seen = echo.last().headers;
    assert_eq!(seen["x-set"], "new");
    assert_eq!(seen.get_all("x-add").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(!seen.contains_key("x-remove"));
}

#[tokio::test]
async fn host_and_path_are_rewritten_and_the_query_is_kept() {
    let echo = Echo::start("a").await;
    let rewrite = |path| {
        let hostname = Some("internal.example".into());
        vec![Filter::Rewrite(Rewrite {
            hostname,
            path: Some(path),
        })]
    };
    let rules = vec![
        with(to("/prefix", "a"), rewrite(PathEdit::Prefix("/v2".into()))),
        with(to("/top", "a"), rewrite(PathEdit::Prefix("/".into()))),
        with(to("/full", "a"), rewrite(PathEdit::Full("/one".into()))),
    ];
    let running = serving(rules, vec![backend("a", &[echo.address])]).await;
    for (path, expected) in [
        ("/prefix/x?q=1", "/v2/x?q=1"),
        ("/prefix", "/v2"),
        ("/top", "/"),
        ("/top/x", "/x"),
        ("/full/x?q=1", "/one?q=1"),
    ] {
        get(running.address("http"), "h", path).await;
        let seen = echo.last();
        assert_eq!(
            (&*seen.uri, &*seen.host),
            (expected, "internal.example"),
            "{path}"
        );
    }
    assert_eq!(echo.last().headers["x-forwarded-host"], "h");
}

#[tokio::test]
async fn a_mirror_gets_a_copy_with_the_body_and_does_not_answer() {
    let (main, copy) = (Echo::start("main").await, Echo::start("copy").await);
    let mirror = |name: &str| Mirror {
        backend: name.into(),
        numerator: 1,
        denominator: 1,
    };
    let changed = Filter::RequestHeaders(edits(&[("x-rule", "yes")], &[], &[]));
    let filters = vec![
        changed,
        Filter::Mirror(mirror("copy")),
        Filter::Mirror(mirror("dead")),
    ];
    let backends = vec![
        backend("main", &[main.address]),
        backend("copy", &[copy.address]),
        backend("dead", &[refusing().await]),
    ];
    let running = serving(vec![with(to("/", "main"), filters)], backends).await;
    let asked = request("POST", "h", "/x?y").body("payload".into()).unwrap();
    let answer = send(running.address("http"), asked).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"payload"[..])
    );
    assert_eq!(answer.headers()["x-backend"], "main");
    wait_for(|| copy.count() == 1).await;
    let seen = copy.last();
    assert_eq!(
        (&*seen.method, &*seen.uri, &seen.body[..]),
        ("POST", "/x?y", &b"payload"[..])
    );
    assert_eq!(seen.headers["x-rule"], "yes");
}

#[tokio::test]
async fn a_body_above_the_bound_is_not_mirrored_but_served() {
    let (main, copy) = (Echo::start("main").await, Echo::start("copy").await);
    let mirror = Mirror {
        backend: "copy".into(),
        numerator: 1,
        denominator: 1,
    };
    let backends = vec![
        backend("main", &[main.address]),
        backend("copy", &[copy.address]),
    ];
    let rules = vec![with(to("/", "main"), vec![Filter::Mirror(mirror)])];
    let running = serving(rules, backends).await;
    let large = vec![b'x'; 300_000];
    let asked = request("POST", "h", "/")
        .body(large.clone().into())
        .unwrap();
    let answer = send(running.address("http"), asked).await;
    assert_eq!(answer.body().len(), large.len());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(copy.count(), 0);
}

#[tokio::test]
async fn a_share_is_mirrored_by_chance() {
    let (main, copy) = (Echo::start("main").await, Echo::start("copy").await);
    let mirror = Mirror {
        backend: "copy".into(),
        numerator: 1,
        denominator: 2,
    };
    let backends = vec![
        backend("main", &[main.address]),
        backend("copy", &[copy.address]),
    ];
    let rules = vec![with(to("/", "main"), vec![Filter::Mirror(mirror)])];
    let running = serving(rules, backends).await;
    for _ in 0..200 {
        get(running.address("http"), "h", "/").await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Six standard deviations around 100.
    assert!((58..=142).contains(&copy.count()), "{}", copy.count());
}

#[tokio::test]
async fn filters_of_a_backend_apply_to_its_share_only() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let mut first = crate::support::parts::weighted("a", 1);
    first.filters = vec![Filter::RequestHeaders(edits(&[("x-share", "a")], &[], &[]))];
    let second = crate::support::parts::weighted("b", 1);
    let forward = rule(vec![prefix("/")], Action::Forward(vec![first, second]));
    let backends = vec![backend("a", &[a.address]), backend("b", &[b.address])];
    let running = serving(vec![forward], backends).await;
    for _ in 0..4 {
        get(running.address("http"), "h", "/").await;
    }
    assert_eq!((a.count(), b.count()), (2, 2));
    assert_eq!(a.last().headers["x-share"], "a");
    assert!(!b.last().headers.contains_key("x-share"));
}

#[tokio::test]
async fn a_backends_own_rewrite_goes_before_the_rules() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let rewrite = |hostname: &str, path| {
        Filter::Rewrite(Rewrite {
            hostname: Some(hostname.into()),
            path: Some(path),
        })
    };
    let mut own = crate::support::parts::weighted("a", 1);
    own.filters = vec![rewrite("own.example", PathEdit::Prefix("/own".into()))];
    let shares = vec![own, crate::support::parts::weighted("b", 1)];
    let rule = with(
        rule(vec![prefix("/x")], Action::Forward(shares)),
        vec![rewrite("rule.example", PathEdit::Full("/rule".into()))],
    );
    let backends = vec![backend("a", &[a.address]), backend("b", &[b.address])];
    let running = serving(vec![rule], backends).await;
    for _ in 0..2 {
        get(running.address("http"), "h", "/x/y?q=1").await;
    }
    let of = |echo: &Echo| (echo.last().host, echo.last().uri);
    assert_eq!(of(&a), ("own.example".into(), "/own/y?q=1".into()));
    assert_eq!(of(&b), ("rule.example".into(), "/rule?q=1".into()));
}

#[tokio::test]
async fn each_mirror_of_a_rule_and_of_a_backend_gets_its_copy() {
    let main = Echo::start("main").await;
    let copies = [
        Echo::start("one").await,
        Echo::start("two").await,
        Echo::start("own").await,
    ];
    let mirror = |name: &str| {
        Filter::Mirror(Mirror {
            backend: name.into(),
            numerator: 1,
            denominator: 1,
        })
    };
    let mut own = crate::support::parts::weighted("main", 1);
    own.filters = vec![mirror("own")];
    let rule = with(
        rule(vec![prefix("/")], Action::Forward(vec![own])),
        vec![mirror("one"), mirror("two")],
    );
    let backends = vec![
        backend("main", &[main.address]),
        backend("one", &[copies[0].address]),
        backend("two", &[copies[1].address]),
        backend("own", &[copies[2].address]),
    ];
    let running = serving(vec![rule], backends).await;
    let asked = request("POST", "h", "/").body("payload".into()).unwrap();
    assert_eq!(send(running.address("http"), asked).await.status(), 200);
    wait_for(|| copies.iter().all(|copy| copy.count() == 1)).await;
    assert!(
        copies
            .iter()
            .all(|copy| &copy.last().body[..] == b"payload")
    );
}

#[tokio::test]
async fn a_mirror_that_never_answers_holds_nothing_up() {
    let main = Echo::start("main").await;
    let silent = Echo::start_slow("silent", Duration::from_secs(60)).await;
    let mirror = Filter::Mirror(Mirror {
        backend: "silent".into(),
        numerator: 1,
        denominator: 1,
    });
    let backends = vec![
        backend("main", &[main.address]),
        backend("silent", &[silent.address]),
    ];
    let setup = Setup {
        limits: Limits {
            mirrors_max: 5,
            ..Limits::default()
        },
        threads: Some(1),
        ..Setup::default()
    };
    let rules = vec![with(to("/", "main"), vec![mirror])];
    let running = Running::serving_with(setup, listener(), rules, backends).await;
    for _ in 0..50 {
        let answer = get(running.address("http"), "h", "/").await;
        assert_eq!(answer.status(), 200);
    }
    // Copies beyond the bound on those in flight are dropped.
    wait_for(|| silent.count() == 5).await;
    assert_eq!(main.count(), 50);
}

async fn wait_for(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come true in five seconds");
}
