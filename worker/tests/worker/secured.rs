//! Backends behind TLS: plain requests, gRPC, upgrades, mirrors and authorization servers.

use tidegate_ir::{AuthProtocol, BackendProtocol, ExternalAuth, Filter, Mirror, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::{Multiplexed, get};
use crate::support::parts::{backend, to};
use crate::support::scripted::{Reply, Scripted};
use crate::support::tls::behind_tls;

/// What a certificate of a backend is for.
const NAME: &str = "inner.example";

#[tokio::test]
async fn requests_reach_a_backend_over_tls_and_nothing_goes_in_plain() {
    let echo = Echo::start("a").await;
    let good = behind_tls("good", echo.address, BackendProtocol::Http1, NAME).await;
    let wrong = behind_tls(
        "wrong",
        echo.address,
        BackendProtocol::Http1,
        "other.example",
    )
    .await;
    let rules = vec![to("/wrong", "wrong"), to("/", "good")];
    let running = Running::serving(rules, vec![good, wrong]).await;
    for _ in 0..3 {
        assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
    }
    assert_eq!(
        get(running.address("http"), "h", "/wrong").await.status(),
        502
    );
    assert_eq!(echo.count(), 3);
}

#[tokio::test]
async fn grpc_reaches_a_backend_over_tls() {
    let greeter = Scripted::start(|_, _| {
        Reply::status(200)
            .header("content-type", "application/grpc")
            .body("message")
            .trailer("grpc-status", "0")
    })
    .await;
    let parts = behind_tls("a", greeter.address, BackendProtocol::Http2, NAME).await;
    let running = Running::serving(vec![to("/", "a")], vec![parts]).await;
    let client = Multiplexed::open(running.address("http")).await;
    let answer = client.call(client.grpc("/a.B/C"), b"x").await;
    assert_eq!((&*answer.status, &answer.body[..]), ("0", &b"message"[..]));
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_over_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
    });
    let parts = behind_tls("a", plain, BackendProtocol::Http1, NAME).await;
    let running = Running::serving(vec![to("/", "a")], vec![parts]).await;
    let mut stream = TcpStream::connect(running.address("http")).await.unwrap();
    let asks =
        b"GET /chat HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nping";
    stream.write_all(asks).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.ends_with("ping"),
        "{answer}"
    );
}

#[tokio::test]
async fn mirrors_and_authorization_servers_are_reached_over_tls() {
    let (echo, copy) = (Echo::start("a").await, Echo::start("copy").await);
    let server = Scripted::start(|_, _| Reply::status(200).header("x-user", "alice")).await;
    let mut rule = to("/", "a");
    rule.filters = vec![
        Filter::ExternalAuth(ExternalAuth {
            target: Target::Backend("auth".into()),
            protocol: AuthProtocol::Http {
                path_prefix: "".into(),
                allowed_headers: vec![],
                allowed_response_headers: vec!["x-user".into()],
            },
            forward_body_max: None,
        }),
        Filter::Mirror(Mirror {
            backend: "copy".into(),
            numerator: 1,
            denominator: 1,
        }),
    ];
    let backends = vec![
        backend("a", &[echo.address]),
        behind_tls("auth", server.address, BackendProtocol::Http1, NAME).await,
        behind_tls("copy", copy.address, BackendProtocol::Http2, NAME).await,
    ];
    let running = Running::serving(vec![rule], backends).await;
    assert_eq!(get(running.address("http"), "h", "/x").await.status(), 200);
    assert_eq!(echo.last().headers["x-user"], "alice");
    assert_eq!((server.count(), server.last().uri), (1, "/x".to_owned()));
    for _ in 0..500 {
        if copy.count() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(copy.last().headers["x-user"], "alice");
}
