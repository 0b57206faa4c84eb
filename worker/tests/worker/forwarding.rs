//! Who asked, and for what: forwarding headers, trusted proxies, and the one form of a path.

use tidegate_ir::ClientTrust;
use tidegate_worker::Edge;

use crate::support::backend::Echo;
use crate::support::client::{get, request, send, send_h2};
use crate::support::parts::{backend, listener, to};
use crate::support::{Running, Setup};

/// A client's own claims.
const CLAIMS: [(&str, &str); 6] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil"),
    ("x-forwarded-port", "1"),
    ("forwarded", "for=6.6.6.6"),
    ("x-request-id", "mine"),
];

async fn serving(edge: Edge, echo: &Echo) -> Running {
    let setup = Setup {
        edge,
        ..Setup::default()
    };
    let backends = vec![backend("a", &[echo.address])];
    Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await
}

async fn ask(running: &Running, claims: &[(&str, &str)]) {
    let mut builder = request("GET", "shop.example.com", "/");
    for (name, value) in claims {
        builder = builder.header(*name, *value);
    }
    let request = builder.body(http_body_util::Full::default()).unwrap();
    assert_eq!(send(running.address("http"), request).await.status(), 200);
}

fn seen(echo: &Echo, name: &str) -> String {
    let headers = echo.last().headers;
    let values = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap().to_owned());
    values.collect::<Vec<_>>().join("|")
}

#[tokio::test]
async fn what_a_client_claims_about_itself_is_replaced() {
    let echo = Echo::start("a").await;
    let running = serving(Edge::default(), &echo).await;
    for claims in [&CLAIMS[..], &[]] {
        ask(&running, claims).await;
        assert_eq!(seen(&echo, "x-forwarded-for"), "127.0.0.1");
        assert_eq!(seen(&echo, "x-forwarded-proto"), "http");
        assert_eq!(seen(&echo, "x-forwarded-host"), "shop.example.com");
        assert_eq!(seen(&echo, "x-forwarded-port"), "80");
        assert_eq!(
            seen(&echo, "forwarded"),
            "for=127.0.0.1;host=\"shop.example.com\";proto=http"
        );
        assert_eq!(seen(&echo, "x-request-id").len(), 36);
        assert_eq!(seen(&echo, "via"), "1.1 tidegate");
    }
}

#[tokio::test]
async fn each_request_gets_an_id_of_its_own() {
    let echo = Echo::start("a").await;
    let running = serving(Edge::default(), &echo).await;
    ask(&running, &[]).await;
    let first = seen(&echo, "x-request-id");
    ask(&running, &[]).await;
    assert_ne!(first, seen(&echo, "x-request-id"));
}

#[tokio::test]
async fn what_a_trusted_proxy_tells_is_kept_and_added_to() {
    let echo = Echo::start("a").await;
    for trust in [
        ClientTrust::Networks(vec!["127.0.0.0/8".parse().unwrap()]),
        ClientTrust::Hops(1.try_into().unwrap()),
    ] {
        let edge = Edge {
            trust,
            ..Edge::default()
        };
        let running = serving(edge, &echo).await;
        ask(&running, &CLAIMS).await;
        assert_eq!(seen(&echo, "x-forwarded-for"), "6.6.6.6, 127.0.0.1");
        assert_eq!(seen(&echo, "x-forwarded-proto"), "https");
        assert_eq!(seen(&echo, "x-forwarded-host"), "evil");
        assert!(seen(&echo, "forwarded").starts_with("for=6.6.6.6, for=127.0.0.1;"));
        assert_eq!(seen(&echo, "x-request-id"), "mine");
    }
}

#[tokio::test]
async fn a_peer_outside_of_the_networks_is_not_trusted() {
    let echo = Echo::start("a").await;
    let edge = Edge {
        trust: ClientTrust::Networks(vec!["10.0.0.0/8".parse().unwrap()]),
        ..Edge::default()
    };
    let running = serving(edge, &echo).await;
    ask(&running, &CLAIMS).await;
    assert_eq!(seen(&echo, "x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn no_client_takes_the_headers_away_by_naming_them_in_connection() {
    let echo = Echo::start("a").await;
    let running = serving(Edge::default(), &echo).await;
    let named = "x-forwarded-for, X-Forwarded-Proto, via, forwarded, x-request-id, x-other";
    ask(&running, &[("connection", named), ("x-other", "1")]).await;
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "via",
        "forwarded",
        "x-request-id",
    ] {
        assert_ne!(seen(&echo, name), "", "{name}");
    }
    assert_eq!(seen(&echo, "x-other"), "");
}

#[tokio::test]
async fn via_names_every_gateway_on_the_way_and_can_be_left_out() {
    let echo = Echo::start("a").await;
    let running = serving(Edge::default(), &echo).await;
    ask(&running, &[("via", "1.0 first"), ("via", "1.1 second")]).await;
    assert_eq!(seen(&echo, "via"), "1.0 first, 1.1 second, 1.1 tidegate");
    let h2 = request("GET", "h", "/")
        .body(http_body_util::Full::default())
        .unwrap();
    assert_eq!(send_h2(running.address("http"), h2).await.status(), 200);
    assert_eq!(seen(&echo, "via"), "2 tidegate");
    let edge = Edge {
        without_via: true,
        ..Edge::default()
    };
    let running = serving(edge, &echo).await;
    ask(&running, &[]).await;
    assert_eq!(seen(&echo, "via"), "");
}

#[tokio::test]
async fn what_is_matched_is_what_is_forwarded() {
    let (admin, other) = (Echo::start("admin").await, Echo::start("other").await);
    let backends = vec![
        backend("admin", &[admin.address]),
        backend("other", &[other.address]),
    ];
    let rules = vec![to("/admin", "admin"), to("/", "other")];
    let running = Running::serving(rules, backends).await;
    let address = running.address("http");
    for path in [
        "/admin/x",
        "/%61dmin/x",
        "//admin//x",
        "/a/../admin/./x",
        "/a/%2e%2E/admin/x",
        "/./admin/x?a//b/../%61",
    ] {
        assert_eq!(get(address, "h", path).await.status(), 200, "{path}");
        let uri = admin.last().uri;
        assert_eq!(uri.split('?').next(), Some("/admin/x"), "{path}");
    }
    assert_eq!(admin.last().uri, "/admin/x?a//b/../%61", "the query stays");
    assert_eq!(get(address, "h", "/%2fadmin%2Fx").await.status(), 200);
    assert_eq!(other.last().uri, "/%2Fadmin%2Fx");
    for path in ["/%", "/%zz", "/a%00b"] {
        assert_eq!(get(address, "h", path).await.status(), 400, "{path}");
    }
    running.wait_for_metric("bad_path").await;
    assert_eq!((admin.count(), other.count()), (6, 1));
}
