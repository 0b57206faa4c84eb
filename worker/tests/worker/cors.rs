//! Cross-origin requests: preflights and the headers of answers.

use http::HeaderMap;
use tidegate_ir::{Action, Cors, Filter, Match, Redirect, Rule};

use crate::support::Running;
use crate::support::backend::refusing;
use crate::support::client::{Answer, request, send};
use crate::support::parts::{backend, prefix, rule, to, weighted};
use crate::support::scripted::{Reply, Scripted};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const EXPOSE: &str = "access-control-expose-headers";
const CREDENTIALS: &str = "access-control-allow-credentials";
const MAX_AGE: &str = "access-control-max-age";

fn names(names: &[&str]) -> Vec<std::sync::Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn listed() -> Cors {
    Cors {
        allow_origins: names(&["https://www.foo.com", "https://*.bar.com"]),
        allow_methods: names(&["GET", "OPTIONS"]),
        allow_headers: names(&["x-header-1", "x-header-2"]),
        expose_headers: names(&["x-header-3", "x-header-4"]),
        allow_credentials: true,
        max_age_s: 3600,
    }
}

fn wildcard(credentials: bool) -> Cors {
    Cors {
        allow_origins: names(&["*"]),
        allow_methods: names(&["*"]),
        allow_headers: names(&["*"]),
        expose_headers: names(&["*"]),
        allow_credentials: credentials,
        max_age_s: 5,
    }
}

fn with(cors: Cors, mut rule: Rule) -> Rule {
    rule.filters.push(Filter::Cors(cors));
    rule
}

/// A backend that says everything about CORS itself.
async fn talkative() -> Scripted {
    Scripted::start(|_, _| {
        Reply::status(200)
            .header(ALLOW_ORIGIN, "https://backend.example")
            .header(ALLOW_METHODS, "DELETE")
            .header(ALLOW_HEADERS, "x-backend")
            .header(EXPOSE, "x-backend")
            .header(CREDENTIALS, "true")
            .header(MAX_AGE, "9")
            .header("vary", "Accept-Encoding")
            .header("x-own", "1")
    })
    .await
}

async fn ask(running: &Running, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let asked = request(method, "h", path);
    let asked = headers
        .iter()
        .fold(asked, |asked, (name, value)| asked.header(*name, *value));
    send(
        running.address("http"),
        asked.body(Default::default()).unwrap(),
    )
    .await
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

const PREFLIGHT: [(&str, &str); 2] = [
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "x-header-1, x-header-2"),
];

#[tokio::test]
async fn a_preflight_is_answered_and_does_not_reach_the_backend() {
    let echo = talkative().await;
    let rules = vec![with(listed(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    for origin in [
        "https://www.foo.com",
        "https://www.bar.com",
        "https://a.b.bar.com",
    ] {
        let asked = [&PREFLIGHT[..], &[("origin", origin)]].concat();
        let answer = ask(&running, "OPTIONS", "/x", &asked).await;
        assert_eq!(answer.status(), 204);
        let headers = answer.headers();
        assert_eq!(text(headers, ALLOW_ORIGIN), Some(origin));
        assert_eq!(text(headers, ALLOW_METHODS), Some("GET, OPTIONS"));
        assert_eq!(text(headers, ALLOW_HEADERS), Some("x-header-1, x-header-2"));
        assert_eq!(text(headers, EXPOSE), Some("x-header-3, x-header-4"));
        assert_eq!(text(headers, CREDENTIALS), Some("true"));
        assert_eq!(text(headers, MAX_AGE), Some("3600"));
        assert!(text(headers, "vary").unwrap().starts_with("Origin"));
    }
    assert_eq!(echo.count(), 0);
    running.wait_for_metric("reason=\"cors_preflight\"").await;
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_hears_nothing_of_cors() {
    let echo = talkative().await;
    let rules = vec![with(listed(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let asked = [&PREFLIGHT[..], &[("origin", "https://foobar.com")]].concat();
    for (method, status) in [("OPTIONS", 204), ("GET", 200)] {
        let answer = ask(&running, method, "/", &asked).await;
        assert_eq!(answer.status().as_u16(), status);
        let spoken = answer.headers().keys();
        let spoken: Vec<_> = spoken
            .filter(|n| n.as_str().starts_with("access-control"))
            .collect();
        assert!(spoken.is_empty(), "{method}: {spoken:?}");
    }
    assert_eq!(echo.count(), 1);
}

#[tokio::test]
async fn wildcards_are_echoed_and_stars_are_never_sent_with_credentials() {
    let echo = talkative().await;
    let rules = vec![
        with(wildcard(true), to("/with", "a")),
        with(wildcard(false), to("/without", "a")),
    ];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let origin = ("origin", "https://foobar.com:12345");
    let asked = [&PREFLIGHT[..], &[origin]].concat();
    for (path, allowed, credentials, exposed) in [
        ("/with", "https://foobar.com:12345", Some("true"), None),
        ("/without", "*", None, Some("*")),
    ] {
        let answer = ask(&running, "OPTIONS", path, &asked).await;
        let headers = answer.headers();
        assert_eq!(text(headers, ALLOW_ORIGIN), Some(allowed));
        assert_eq!(text(headers, ALLOW_METHODS), Some("PUT"));
        assert_eq!(text(headers, ALLOW_HEADERS), Some("x-header-1, x-header-2"));
        assert_eq!(text(headers, CREDENTIALS), credentials);
        assert_eq!(text(headers, EXPOSE), exposed);
        let headers = ask(&running, "OPTIONS", path, &[origin, PREFLIGHT[0]]).await;
        assert_eq!(text(headers.headers(), ALLOW_HEADERS), None);
    }
    let answer = ask(&running, "GET", "/with", &[origin]).await;
    let exposed = text(answer.headers(), EXPOSE).unwrap();
    assert!(
        exposed.contains("x-own") && !exposed.contains('*'),
        "{exposed}"
    );
}

#[tokio::test]
async fn answers_name_the_origin_and_vary_by_it_in_place_of_the_backends_words() {
    let echo = talkative().await;
    let rules = vec![
        with(listed(), to("/listed", "a")),
        with(wildcard(false), to("/any", "a")),
    ];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let origin = ("origin", "https://www.foo.com");
    let answer = ask(&running, "GET", "/listed", &[origin]).await;
    let headers = answer.headers();
    let all: Vec<_> = headers.get_all(ALLOW_ORIGIN).iter().collect();
    assert_eq!(all, ["https://www.foo.com"]);
    assert_eq!(text(headers, EXPOSE), Some("x-header-3, x-header-4"));
    assert_eq!(text(headers, CREDENTIALS), Some("true"));
    assert_eq!(text(headers, MAX_AGE), None);
    assert_eq!(text(headers, ALLOW_METHODS), None);
    let vary: Vec<_> = headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept-Encoding", "Origin"]);
    // The same answer for all needs no such word, and a request of the same site neither CORS.
    let answer = ask(&running, "GET", "/any", &[origin]).await;
    assert_eq!(text(answer.headers(), ALLOW_ORIGIN), Some("*"));
    assert_eq!(answer.headers().get_all("vary").iter().count(), 1);
    let answer = ask(&running, "GET", "/listed", &[]).await;
    assert_eq!(text(answer.headers(), ALLOW_ORIGIN), None);
    assert_eq!(answer.headers().get_all("vary").iter().count(), 2);
}

#[tokio::test]
async fn options_without_a_question_reaches_the_backend() {
    let echo = talkative().await;
    let rules = vec![with(listed(), to("/", "a"))];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let answer = ask(
        &running,
        "OPTIONS",
        "/",
        &[("origin", "https://www.foo.com")],
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        text(answer.headers(), ALLOW_ORIGIN),
        Some("https://www.foo.com")
    );
    assert_eq!(echo.last().method, "OPTIONS");
}

#[tokio::test]
async fn the_workers_own_answers_can_be_read_too() {
    let redirect = Redirect {
        scheme: None,
        hostname: Some("new.example".into()),
        path: None,
        port: None,
        status_code: 302,
    };
    let rules = vec![
        with(listed(), to("/dead", "dead")),
        with(
            listed(),
            rule(vec![prefix("/moved")], Action::Redirect(redirect.into())),
        ),
    ];
    let running = Running::serving(rules, vec![backend("dead", &[refusing().await])]).await;
    for (path, status) in [("/dead", 502), ("/moved", 302)] {
        let answer = ask(&running, "GET", path, &[("origin", "https://www.foo.com")]).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(
            text(answer.headers(), ALLOW_ORIGIN),
            Some("https://www.foo.com")
        );
    }
}

#[tokio::test]
async fn a_preflight_finds_the_rule_of_the_method_that_it_asks_for() {
    let echo = talkative().await;
    let put_only = Match {
        method: Some("PUT".into()),
        ..prefix("/")
    };
    let forward = Action::Forward(vec![weighted("a", 1)]);
    let rules = vec![with(listed(), rule(vec![put_only], forward))];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let asked = [&PREFLIGHT[..], &[("origin", "https://www.foo.com")]].concat();
    let answer = ask(&running, "OPTIONS", "/", &asked).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(
        text(answer.headers(), ALLOW_ORIGIN),
        Some("https://www.foo.com")
    );
    let other = [
        ("origin", "https://www.foo.com"),
        ("access-control-request-method", "GET"),
    ];
    assert_eq!(ask(&running, "OPTIONS", "/", &other).await.status(), 404);
}

#[tokio::test]
async fn a_filter_of_one_backend_answers_for_its_share() {
    let echo = talkative().await;
    let mut share = weighted("a", 1);
    share.filters = vec![Filter::Cors(listed())];
    let rules = vec![rule(vec![prefix("/")], Action::Forward(vec![share]))];
    let running = Running::serving(rules, vec![backend("a", &[echo.address])]).await;
    let asked = [&PREFLIGHT[..], &[("origin", "https://www.foo.com")]].concat();
    let answer = ask(&running, "OPTIONS", "/", &asked).await;
    assert_eq!((answer.status().as_u16(), echo.count()), (204, 0));
    let answer = ask(&running, "GET", "/", &asked).await;
    assert_eq!(
        text(answer.headers(), ALLOW_ORIGIN),
        Some("https://www.foo.com")
    );
}
