//! TLS of listeners: versions, resumption, hellos in pieces, and what is no TLS at all.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, ServerName};
use tidegate_ir::{Certificate, Part};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::send_raw;
use crate::support::configd::snapshot;
use crate::support::parts::{attachment, backend, route, to};
use crate::support::tls::{certificate, connect_tls, https, tls_worker};

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

fn client(
    trusted: &CertificateDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn connect(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> std::io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("a.example").unwrap();
    tokio_rustls::TlsConnector::from(config.clone())
        .connect(name, stream)
        .await
}

async fn get(stream: &mut Stream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let len = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_are_resumed() {
    let (running, _echo, a, _b) = tls_worker().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client(&a, &[version]));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(running.address("a"), &config).await.unwrap();
            assert!(get(&mut stream).await.starts_with("HTTP/1.1 200"));
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            kinds.push(stream.get_ref().1.handshake_kind());
        }
        let kinds: Vec<_> = kinds.into_iter().flatten().collect();
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{version:?}");
    }
}

#[tokio::test]
async fn early_data_is_not_taken() {
    let (running, _echo, a, _b) = tls_worker().await;
    let mut config = client(&a, &[&rustls::version::TLS13]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut first = connect(running.address("a"), &config).await.unwrap();
    get(&mut first).await;
    let second = connect(running.address("a"), &config).await.unwrap();
    assert_eq!(
        second.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    assert!(!second.get_ref().1.is_early_data_accepted());
}

#[tokio::test]
async fn a_certificate_changes_without_a_dropped_connection() {
    let echo = Echo::start("a").await;
    let running = Running::start().await;
    let parts = |certificate: Vec<Part>| {
        let mut route = route("r", vec![to("/", "a")]);
        route.attachments = vec![attachment("infra/gw/a", &["a.example"])];
        let listener = Part::Listener(https("a", "a.example", &["shop/a"]));
        let parts = [listener, Part::Route(route)]
            .into_iter()
            .chain(certificate);
        parts
            .chain(backend("a", &[echo.address]))
            .collect::<Vec<_>>()
    };
    let (old_parts, old) = certificate("shop/a", &["a.example"]);
    let (new_parts, new) = certificate("shop/a", &["a.example"]);
    running.configd.apply(&snapshot(1, parts(old_parts))).await;
    let mut kept = connect_tls(running.address("a"), "a.example", &old, &[])
        .await
        .unwrap();
    assert!(get(&mut kept).await.starts_with("HTTP/1.1 200"));
    running.configd.apply(&snapshot(2, parts(new_parts))).await;
    assert!(get(&mut kept).await.starts_with("HTTP/1.1 200"));
    assert!(
        connect_tls(running.address("a"), "a.example", &old, &[])
            .await
            .is_err()
    );
    let mut fresh = connect_tls(running.address("a"), "a.example", &new, &[])
        .await
        .unwrap();
    assert!(get(&mut fresh).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_expired_certificate_is_served_and_told() {
    let echo = Echo::start("a").await;
    let (mut parts, _) = certificate("shop/a", &["a.example"]);
    for part in &mut parts {
        if let Part::Certificate(certificate) = part {
            *certificate = Certificate {
                not_after_unix_s: 1_000,
                ..certificate.clone()
            };
        }
    }
    let mut route = route("r", vec![to("/", "a")]);
    route.attachments = vec![attachment("infra/gw/a", &["a.example"])];
    let listener = Part::Listener(https("a", "a.example", &["shop/a"]));
    let all = [listener, Part::Route(route)].into_iter().chain(parts);
    let running = Running::start().await;
    running
        .configd
        .apply(&snapshot(1, all.chain(backend("a", &[echo.address]))))
        .await;
    running
        .wait_for_metric("certificate_expiry_timestamp_seconds{certificate=\"shop/a\"} 1000")
        .await;
}

/// Passes bytes on to `to`, one at a time in that direction.
async fn byte_by_byte(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(to).await.unwrap();
        server.set_nodelay(true).unwrap();
        let ((mut from, mut back), (mut answers, mut server)) =
            (client.into_split(), server.into_split());
        let forth = async {
            while let Ok(byte) = from.read_u8().await {
                server.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(forth, tokio::io::copy(&mut answers, &mut back))
            .1
            .unwrap();
    });
    address
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let (running, _echo, a, _b) = tls_worker().await;
    let slow = byte_by_byte(running.address("a")).await;
    let config = Arc::new(client(&a, &[&rustls::version::TLS13]));
    let mut stream = connect(slow, &config).await.unwrap();
    assert!(get(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_hello_may_come_in_small_records() {
    let (running, _echo, a, _b) = tls_worker().await;
    let mut config = client(&a, &[&rustls::version::TLS13]);
    config.max_fragment_size = Some(64);
    let mut stream = connect(running.address("a"), &Arc::new(config))
        .await
        .unwrap();
    assert!(get(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_no_tls_is_told_so_or_closed() {
    let (running, echo, _a, _b) = tls_worker().await;
    let answer = send_raw(
        running.address("a"),
        b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{answer}"
    );
    running
        .wait_for_metric("connections_ended_total{reason=\"plain_text\"} 1")
        .await;
    let broken = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    let answer = send_raw(running.address("a"), broken).await;
    assert!(!answer.contains("HTTP"), "{answer}");
    running
        .wait_for_metric("connections_ended_total{reason=\"tls_handshake\"} 1")
        .await;
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn a_client_that_speaks_none_of_our_protocols_gets_no_connection() {
    let (running, _echo, a, _b) = tls_worker().await;
    assert!(
        connect_tls(running.address("a"), "a.example", &a, &[b"spdy/3"])
            .await
            .is_err()
    );
    let stream = connect_tls(running.address("a"), "a.example", &a, &[])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
}
