//! External authorization: what servers are asked, and what their answers do.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::Full;
use prost::Message as _;
use tidegate_ir::{
    Action, AuthProtocol, ExternalAuth, Filter, Listener, Mirror, Part, PathEdit, Redirect,
    Rewrite, Rule, Target,
};
use tidegate_proto::auth::v3 as wire;
use tidegate_worker::Limits;
use wire::check_response::HttpResponse;

use crate::support::backend::{Echo, Seen, refusing};
use crate::support::client::{Answer, Multiplexed, get, request, send};
use crate::support::parts::{backend, edits, listener, prefix, rule, to, weighted};
use crate::support::scripted::{Reply, Scripted};
use crate::support::{Running, Setup};

fn over_http() -> ExternalAuth {
    ExternalAuth {
        target: Target::Backend("auth".into()),
        protocol: AuthProtocol::Http {
            path_prefix: "/check".into(),
            allowed_headers: vec!["x-shown".into()],
            allowed_response_headers: vec!["x-user".into(), "host".into()],
        },
        forward_body_max: None,
    }
}

fn over_grpc() -> ExternalAuth {
    ExternalAuth {
        protocol: AuthProtocol::Grpc {
            allowed_headers: vec![],
        },
        ..over_http()
    }
}

fn guarded(auth: ExternalAuth) -> Rule {
    let mut rule = to("/", "a");
    rule.filters = vec![Filter::ExternalAuth(auth)];
    rule
}

async fn serving(auth: ExternalAuth, server: &Scripted, echo: &Echo) -> Running {
    let backends = vec![
        backend("a", &[echo.address]),
        backend("auth", &[server.address]),
    ];
    Running::serving(vec![guarded(auth)], backends).await
}

async fn ask(running: &Running, asked: http::request::Builder, body: &'static str) -> Answer {
    send(running.address("http"), asked.body(body.into()).unwrap()).await
}

/// A server that lets pass whoever brings `authorization: good`.
async fn usual() -> Scripted {
    Scripted::start(|seen, _| {
        let good = seen.headers.get("authorization");
        match good.and_then(|value| value.to_str().ok()) {
            Some("good") => Reply::status(200)
                .header("x-user", "alice")
                .header("x-other", "1")
                .header("host", "elsewhere"),
            Some("success") => Reply::status(204),
            Some(_) => Reply::status(403).body("not you"),
            None => Reply::status(302)
                .header("location", "https://login.example/")
                .header("set-cookie", "a=b"),
        }
    })
    .await
}

#[tokio::test]
async fn a_server_sees_what_it_may_and_200_lets_the_request_pass() {
    let (server, echo) = (usual().await, Echo::start("a").await);
    let running = serving(over_http(), &server, &echo).await;
    let asked = request("PUT", "shop.example:81", "/cart?x=y")
        .header("authorization", "good")
        .header("x-shown", "1")
        .header("x-hidden", "2")
        .header("x-user", "mallory");
    let answer = ask(&running, asked, "payload").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"payload"[..])
    );
    let question = server.last();
    assert_eq!(
        (&*question.method, &*question.uri),
        ("PUT", "/check/cart?x=y")
    );
    assert_eq!(question.host, "shop.example:81");
    assert_eq!(question.headers["content-length"], "0");
    assert_eq!(question.headers["x-shown"], "1");
    assert!(!question.headers.contains_key("x-hidden"));
    let seen = echo.last();
    let users: Vec<_> = seen.headers.get_all("x-user").iter().collect();
    assert_eq!(users, ["alice"]);
    assert!(!seen.headers.contains_key("x-other"));
    assert_eq!((&*seen.host, &*seen.uri), ("shop.example:81", "/cart?x=y"));
}

#[tokio::test]
async fn every_other_answer_is_the_clients_and_the_backend_hears_nothing() {
    let (server, echo) = (usual().await, Echo::start("a").await);
    let running = serving(over_http(), &server, &echo).await;
    let answer = ask(
        &running,
        request("GET", "h", "/").header("authorization", "bad"),
        "",
    )
    .await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (403, &b"not you"[..])
    );
    let answer = ask(&running, request("GET", "h", "/"), "").await;
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["location"], "https://login.example/");
    assert_eq!(answer.headers()["set-cookie"], "a=b");
    // Success of another kind is none.
    let asked = request("GET", "h", "/").header("authorization", "success");
    assert_eq!(ask(&running, asked, "").await.status(), 403);
    assert_eq!(echo.count(), 0);
    running.wait_for_metric("reason=\"auth_denied\"").await;
}

#[tokio::test]
async fn a_header_that_the_server_is_to_set_is_not_the_clients() {
    let server = Scripted::start(|_, _| Reply::status(200)).await;
    let echo = Echo::start("a").await;
    let running = serving(over_http(), &server, &echo).await;
    let answer = ask(
        &running,
        request("GET", "h", "/").header("x-user", "mallory"),
        "",
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert!(!echo.last().headers.contains_key("x-user"));
}

#[tokio::test]
async fn without_a_list_all_headers_are_copied_but_those_of_the_body() {
    let (server, echo) = (usual().await, Echo::start("a").await);
    let mut auth = over_http();
    auth.protocol = AuthProtocol::Http {
        path_prefix: "".into(),
        allowed_headers: vec![],
        allowed_response_headers: vec![],
    };
    let running = serving(auth, &server, &echo).await;
    let asked = request("POST", "h", "/x").header("authorization", "good");
    let answer = ask(&running, asked.header("content-type", "text/x"), "payload").await;
    assert_eq!(&answer.body()[..], b"payload");
    assert_eq!(server.last().uri, "/x");
    let seen = echo.last();
    assert_eq!(
        (&seen.headers["x-user"], &seen.headers["x-other"]),
        (&"alice".parse().unwrap(), &"1".parse().unwrap())
    );
    assert_eq!(seen.headers["content-type"], "text/x");
    assert_eq!(seen.host, "h");
}

#[tokio::test]
async fn a_body_within_the_bound_is_shown_and_still_reaches_the_backend() {
    let server = Scripted::start(|_, _| Reply::status(200)).await;
    let echo = Echo::start("a").await;
    let mut auth = over_http();
    auth.forward_body_max = Some(10);
    let running = serving(auth, &server, &echo).await;
    let answer = ask(&running, request("POST", "h", "/"), "0123456789").await;
    assert_eq!(&answer.body()[..], b"0123456789");
    let question = server.last();
    assert_eq!(&question.body[..], b"0123456789");
    assert_eq!(question.headers["content-length"], "10");
    assert_eq!(&echo.last().body[..], b"0123456789");
    // The length of a body in chunks is known at its end only.
    let chunked = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer =
        crate::support::client::send_raw(running.address("http"), chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.last().headers["content-length"], "5");
    assert_eq!(&echo.last().body[..], b"abcde");
    // More is refused, whether the client says so first or not.
    let answer = ask(&running, request("POST", "h", "/"), "0123456789x").await;
    assert_eq!(answer.status(), 413);
    let chunked = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   b\r\n0123456789x\r\n0\r\n\r\n";
    let answer =
        crate::support::client::send_raw(running.address("http"), chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!((server.count(), echo.count()), (2, 2));
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_lets_nothing_pass() {
    let echo = Echo::start("a").await;
    let slow = Scripted::start(|_, _| Reply::status(200).after(30_000)).await;
    // Speaks, but not gRPC.
    let confused = Scripted::start(|_, _| Reply::status(200).body("hello")).await;
    let limits = Limits {
        auth_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let at = |path: &str, auth: ExternalAuth, name: &str| {
        let mut rule = to(path, "a");
        let target = Target::Backend(name.into());
        rule.filters = vec![Filter::ExternalAuth(ExternalAuth { target, ..auth })];
        rule
    };
    let mut fault = to("/fault", "a");
    fault.filters = vec![Filter::ExternalAuth(ExternalAuth {
        target: Target::Fault("Service shop/auth does not exist".into()),
        ..over_http()
    })];
    let mut late = at("/late", over_http(), "slow");
    late.timeouts.request_ms = Some(50);
    let rules = vec![
        fault,
        late,
        at("/down", over_http(), "down"),
        at("/grpcdown", over_grpc(), "down"),
        at("/empty", over_http(), "empty"),
        at("/slow", over_http(), "slow"),
        at("/grpcslow", over_grpc(), "slow"),
        at("/confused", over_grpc(), "confused"),
    ];
    let backends = vec![
        backend("a", &[echo.address]),
        backend("down", &[refusing().await]),
        backend("empty", &[]),
        backend("slow", &[slow.address]),
        backend("confused", &[confused.address]),
    ];
    let running = Running::serving_with(setup, listener(), rules, backends).await;
    let client = Multiplexed::open(running.address("http")).await;
    for (path, status, grpc) in [
        ("/fault", 500, "14"),
        ("/late", 504, "4"),
        ("/down", 503, "14"),
        ("/grpcdown", 503, "14"),
        ("/empty", 503, "14"),
        ("/slow", 503, "14"),
        ("/grpcslow", 503, "14"),
        ("/confused", 503, "14"),
    ] {
        let answer = get(running.address("http"), "h", path).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(
            client.call(client.grpc(path), b"").await.status,
            grpc,
            "{path}"
        );
    }
    assert_eq!(echo.count(), 0);
    running.wait_for_metric("reason=\"auth_unavailable\"").await;
}

#[tokio::test]
async fn a_refused_request_is_not_mirrored_and_not_redirected() {
    let (server, copy) = (usual().await, Echo::start("copy").await);
    let echo = Echo::start("a").await;
    let mirror = Filter::Mirror(Mirror {
        backend: "copy".into(),
        numerator: 1,
        denominator: 1,
    });
    let mut mirrored = guarded(over_http());
    mirrored.filters.insert(0, mirror);
    let redirect = Redirect {
        scheme: None,
        hostname: Some("secret.example".into()),
        path: None,
        port: None,
        status_code: 301,
    };
    let mut redirected = rule(vec![prefix("/moved")], Action::Redirect(redirect.into()));
    redirected.filters = vec![Filter::ExternalAuth(over_http())];
    let backends = vec![
        backend("a", &[echo.address]),
        backend("copy", &[copy.address]),
        backend("auth", &[server.address]),
    ];
    let running = Running::serving(vec![redirected, mirrored], backends).await;
    for path in ["/x", "/moved"] {
        let asked = request("GET", "h", path).header("authorization", "bad");
        assert_eq!(ask(&running, asked, "").await.status(), 403);
        let asked = request("GET", "h", path).header("authorization", "good");
        let status = ask(&running, asked, "").await.status().as_u16();
        assert_eq!(status, if path == "/x" { 200 } else { 301 });
    }
    for _ in 0..500 {
        if copy.count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((copy.count(), echo.count()), (1, 1));
}

#[tokio::test]
async fn filters_before_the_question_change_what_is_asked() {
    let (server, echo) = (usual().await, Echo::start("a").await);
    let mut rule = to("/", "a");
    let before = Filter::RequestHeaders(edits(&[("x-shown", "before")], &[], &[]));
    let after = Filter::RequestHeaders(edits(&[("x-shown", "after")], &[], &[]));
    rule.filters = vec![before, Filter::ExternalAuth(over_http()), after];
    let backends = vec![
        backend("a", &[echo.address]),
        backend("auth", &[server.address]),
    ];
    let running = Running::serving(vec![rule], backends).await;
    let asked = request("GET", "h", "/").header("authorization", "good");
    assert_eq!(ask(&running, asked, "").await.status(), 200);
    assert_eq!(server.last().headers["x-shown"], "before");
    assert_eq!(echo.last().headers["x-shown"], "after");
}

#[tokio::test]
async fn a_filter_of_one_backend_guards_its_share_only() {
    let (server, echo) = (usual().await, Echo::start("a").await);
    let open = Echo::start("open").await;
    let mut guarded = weighted("a", 1);
    guarded.filters = vec![Filter::ExternalAuth(over_http())];
    let forward = Action::Forward(vec![guarded, weighted("open", 1)]);
    let backends = vec![
        backend("a", &[echo.address]),
        backend("open", &[open.address]),
        backend("auth", &[server.address]),
    ];
    let running = Running::serving(vec![rule(vec![prefix("/")], forward)], backends).await;
    let mut statuses = vec![];
    for _ in 0..4 {
        let asked = request("GET", "h", "/").header("authorization", "bad");
        statuses.push(ask(&running, asked, "").await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 403, 403]);
    assert_eq!((echo.count(), open.count()), (0, 2));
}

/// What a gRPC server was asked.
fn question(seen: &Seen) -> wire::CheckRequest {
    assert_eq!(seen.uri, "/envoy.service.auth.v3.Authorization/Check");
    assert_eq!(seen.headers["content-type"], "application/grpc");
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.body[0], 0);
    wire::CheckRequest::decode(&seen.body[5..]).unwrap()
}

fn http_of(check: wire::CheckRequest) -> wire::HttpRequest {
    check.attributes.unwrap().request.unwrap().http.unwrap()
}

fn reply(answer: &wire::CheckResponse) -> Reply {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(answer.encoded_len()).unwrap());
    frame.extend_from_slice(&answer.encode_to_vec());
    Reply::status(200)
        .header("content-type", "application/grpc")
        .body(frame.freeze())
        .trailer("grpc-status", "0")
}

fn option(key: &str, value: &str, append: bool) -> wire::HeaderValueOption {
    wire::HeaderValueOption {
        header: Some(wire::HeaderValue {
            key: key.into(),
            value: value.into(),
            raw_value: Bytes::new(),
        }),
        append: append.then_some(wire::BoolValue { value: true }),
    }
}

fn denied(status: i32, body: &str) -> wire::CheckResponse {
    wire::CheckResponse {
        status: Some(wire::Status {
            code: 7,
            message: String::new(),
        }),
        http_response: Some(HttpResponse::DeniedResponse(wire::DeniedHttpResponse {
            status: Some(wire::HttpStatus { code: status }),
            headers: vec![option("x-why", "because", false)],
            body: body.into(),
        })),
    }
}

fn allowed() -> wire::CheckResponse {
    wire::CheckResponse {
        status: Some(wire::Status::default()),
        http_response: Some(HttpResponse::OkResponse(wire::OkHttpResponse {
            headers: vec![
                option("x-user", "alice", false),
                option("x-role", "b", true),
                option("host", "elsewhere", false),
                option(":path", "/elsewhere", false),
            ],
            headers_to_remove: vec!["x-token".into(), "host".into()],
            response_headers_to_add: vec![option("x-seen", "1", false)],
        })),
    }
}

#[tokio::test]
async fn a_grpc_server_sees_the_request_and_changes_it() {
    let server = Scripted::start(|_, _| reply(&allowed())).await;
    let echo = Echo::start("a").await;
    let mut auth = over_grpc();
    auth.forward_body_max = Some(100);
    let running = serving(auth, &server, &echo).await;
    let asked = request("PUT", "shop.example:81", "/cart?x=y")
        .header("x-user", "mallory")
        .header("x-role", "a")
        .header("x-token", "t");
    let answer = ask(&running, asked, "payload").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"payload"[..])
    );
    assert_eq!(answer.headers()["x-seen"], "1");
    let seen = echo.last();
    let all = |name| seen.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all("x-user"), ["alice"]);
    assert_eq!(all("x-role"), ["a", "b"]);
    assert!(!seen.headers.contains_key("x-token"));
    assert_eq!((&*seen.host, &*seen.uri), ("shop.example:81", "/cart?x=y"));
    let check = question(&server.last());
    let source = check.attributes.clone().unwrap().source.unwrap();
    let source = source.address.unwrap().socket_address.unwrap();
    assert_eq!(source.address, "127.0.0.1");
    let http = http_of(check);
    assert_eq!(
        (&*http.method, &*http.path, &*http.host),
        ("PUT", "/cart?x=y", "shop.example:81")
    );
    assert_eq!((&*http.scheme, &*http.protocol), ("http", "HTTP/1.1"));
    assert_eq!((&*http.body, http.size), ("payload", 7));
    assert_eq!(http.headers["x-token"], "t");
}

#[tokio::test]
async fn a_grpc_server_sees_only_the_headers_of_its_list() {
    let server = Scripted::start(|_, _| reply(&allowed())).await;
    let echo = Echo::start("a").await;
    let mut auth = over_grpc();
    auth.protocol = AuthProtocol::Grpc {
        allowed_headers: vec!["x-shown".into()],
    };
    let running = serving(auth, &server, &echo).await;
    let asked = request("GET", "h", "/")
        .header("x-shown", "1")
        .header("x-hidden", "2");
    assert_eq!(ask(&running, asked, "").await.status(), 200);
    let headers = http_of(question(&server.last())).headers;
    assert_eq!(
        headers.into_iter().collect::<Vec<_>>(),
        [("x-shown".into(), "1".into())]
    );
}

#[tokio::test]
async fn a_grpc_server_refuses_in_its_own_words_and_nothing_passes_by_mistake() {
    let server = Scripted::start(|_, number| match number {
        0 => reply(&denied(401, "who are you?")),
        1 => reply(&denied(0, "no")),
        // Neither an empty message, nor another status, nor one that contradicts itself.
        2 => reply(&wire::CheckResponse::default()),
        3 => reply(&wire::CheckResponse {
            status: Some(wire::Status {
                code: 16,
                message: "x".into(),
            }),
            http_response: None,
        }),
        4 => reply(&wire::CheckResponse {
            status: Some(wire::Status {
                code: 7,
                message: "x".into(),
            }),
            ..allowed()
        }),
        5 => reply(&wire::CheckResponse {
            status: Some(wire::Status::default()),
            ..denied(403, "")
        }),
        // An error of gRPC, with and without a message; a message that breaks off.
        6 => Reply::status(200).header("grpc-status", "13"),
        7 => {
            let mut failed = reply(&allowed());
            failed.trailers = None;
            failed.trailer("grpc-status", "13")
        }
        8 => Reply::status(200)
            .body(&b"\0\0\0\0\x05ab"[..])
            .trailer("grpc-status", "0"),
        9 => Reply::status(503),
        _ => reply(&allowed()),
    })
    .await;
    let echo = Echo::start("a").await;
    let running = serving(over_grpc(), &server, &echo).await;
    let answer = get(running.address("http"), "h", "/").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (401, &b"who are you?"[..])
    );
    assert_eq!(answer.headers()["x-why"], "because");
    for (number, status) in [
        (1, 403),
        (2, 403),
        (3, 403),
        (4, 403),
        (5, 403),
        (6, 503),
        (7, 503),
        (8, 503),
        (9, 503),
    ] {
        let answer = get(running.address("http"), "h", "/").await;
        assert_eq!(answer.status().as_u16(), status, "{number}");
    }
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
}

#[tokio::test]
async fn grpc_clients_are_refused_in_their_terms() {
    let server = Scripted::start(|_, number| match number {
        0 => reply(&denied(401, "who are you?")),
        1 => reply(&denied(403, "")),
        _ => reply(&denied(429, "later")),
    })
    .await;
    let echo = Echo::start("a").await;
    let running = serving(over_grpc(), &server, &echo).await;
    let client = Multiplexed::open(running.address("http")).await;
    for (status, message) in [
        ("16", "who are you?"),
        ("7", "the authorization server refuses this request"),
        ("14", "later"),
    ] {
        let answer = client.call(client.grpc("/a.B/C"), b"").await;
        assert_eq!((&*answer.status, &*answer.message), (status, message));
        assert_eq!(answer.headers["x-why"], "because");
    }
    assert_eq!(echo.count(), 0);
    let http = usual().await;
    let running = serving(over_http(), &http, &echo).await;
    let client = Multiplexed::open(running.address("http")).await;
    let asked = client.grpc("/a.B/C").header("authorization", "bad");
    assert_eq!(client.call(asked, b"").await.status, "7");
}

/// A listener whose filters run before a route is looked for.
fn filtered(filters: Vec<Filter>) -> Listener {
    Listener {
        filters,
        ..listener()
    }
}

async fn behind(filters: Vec<Filter>, rules: Vec<Rule>, backends: Vec<Vec<Part>>) -> Running {
    Running::serving_with(Setup::default(), filtered(filters), rules, backends).await
}

#[tokio::test]
async fn a_listeners_filters_run_before_routes_and_leave_the_host() {
    let (plain, special) = (Echo::start("plain").await, Echo::start("special").await);
    let changes = edits(&[("x-kind", "special"), ("host", "elsewhere")], &[], &[]);
    let filters = vec![
        Filter::RequestHeaders(changes),
        Filter::Rewrite(Rewrite {
            hostname: Some("elsewhere".into()),
            path: Some(PathEdit::Prefix("/inner".into())),
        }),
    ];
    let mut by_header = prefix("/inner/x");
    by_header.headers = vec![tidegate_ir::ValueMatch {
        name: "x-kind".into(),
        value: tidegate_ir::StringMatch::Exact("special".into()),
    }];
    let forward = Action::Forward(vec![weighted("special", 1)]);
    let rules = vec![rule(vec![by_header], forward), to("/", "plain")];
    let backends = vec![
        backend("plain", &[plain.address]),
        backend("special", &[special.address]),
    ];
    let running = behind(filters, rules, backends).await;
    assert_eq!(
        &get(running.address("http"), "h", "/x?q=1").await.body()[..],
        b"special"
    );
    let seen = special.last();
    assert_eq!((&*seen.host, &*seen.uri), ("h", "/inner/x?q=1"));
}

#[tokio::test]
async fn a_listeners_server_decides_over_every_request_and_by_what_routes_match() {
    let server = Scripted::start(|seen, _| {
        if seen.headers.get("authorization").is_none() {
            return Reply::status(401);
        }
        Reply::status(200)
            .header("x-user", "alice")
            .header("host", "elsewhere")
    })
    .await;
    let (alice, rest) = (Echo::start("alice").await, Echo::start("rest").await);
    let mut of_alice = prefix("/");
    of_alice.headers = vec![tidegate_ir::ValueMatch {
        name: "x-user".into(),
        value: tidegate_ir::StringMatch::Exact("alice".into()),
    }];
    let forward = Action::Forward(vec![weighted("alice", 1)]);
    let mut auth = over_http();
    auth.forward_body_max = Some(100);
    if let AuthProtocol::Http {
        allowed_headers, ..
    } = &mut auth.protocol
    {
        allowed_headers.push("x-forwarded-for".into());
    }
    let rules = vec![rule(vec![of_alice], forward), to("/", "rest")];
    let backends = vec![
        backend("alice", &[alice.address]),
        backend("rest", &[rest.address]),
        backend("auth", &[server.address]),
    ];
    let running = behind(vec![Filter::ExternalAuth(auth)], rules, backends).await;
    let answer = ask(
        &running,
        request("POST", "h", "/").header("x-user", "alice"),
        "x",
    )
    .await;
    assert_eq!(answer.status(), 401);
    let asked = request("POST", "h", "/")
        .header("authorization", "good")
        .header("x-forwarded-for", "6.6.6.6");
    let answer = ask(&running, asked, "payload").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"payload"[..])
    );
    assert_eq!(
        (&server.last().body[..], &alice.last().body[..]),
        (&b"payload"[..], &b"payload"[..])
    );
    assert_eq!(server.last().headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!((alice.last().host, rest.count()), ("h".to_owned(), 0));
    let client = Multiplexed::open(running.address("http")).await;
    assert_eq!(
        client.call(client.grpc("/no.Such/Call"), b"").await.status,
        "16"
    );
}

#[tokio::test]
async fn a_listener_that_changes_answers_is_refused() {
    let filter = Filter::ResponseHeaders(edits(&[("x", "y")], &[], &[]));
    let running = Running::start().await;
    let snapshot = crate::support::configd::snapshot(1, [Part::from(filtered(vec![filter]))]);
    let answer = running.configd.send(&snapshot).await;
    let crate::support::configd::Answer::Nack(nack) = answer else {
        panic!("applied")
    };
    assert!(nack.problems[0].message.contains("filters"), "{nack:?}");
}

#[tokio::test]
async fn an_upgrade_is_asked_for_before_it_happens() {
    let (server, echo) = (usual().await, Echo::start("a").await);
    let running = serving(over_http(), &server, &echo).await;
    let asked = Request::builder()
        .uri("/chat")
        .header("host", "h")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let asked = asked
        .header("authorization", "bad")
        .body(Full::default())
        .unwrap();
    assert_eq!(send(running.address("http"), asked).await.status(), 403);
    assert!(!server.last().headers.contains_key("upgrade"));
    assert_eq!(echo.count(), 0);
}
