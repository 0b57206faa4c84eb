//! TLS of listeners: versions, resumption, hellos in pieces, and what is no TLS at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, HandshakeKind};
use tidegate_ir::Part;
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::Echo;
use crate::support::client::send_raw;
use crate::support::configd::snapshot;
use crate::support::parts::{attachment, backend, route, to};
use crate::support::tls::{certificate, certificate_of, connect_tls, https, tls_worker};
use crate::support::{Running, Setup};

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
        let listener = Part::from(https("a", "a.example", &["shop/a"]));
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

/// A worker whose only listener has this certificate.
async fn serving_with(limits: Limits, certificate: Vec<Part>) -> Running {
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let running = Running::start_with(setup).await;
    running
        .configd
        .apply(&snapshot(1, listening(certificate)))
        .await;
    running
}

/// A listener that has this certificate.
fn listening(certificate: Vec<Part>) -> impl Iterator<Item = Part> {
    let listener = Part::from(https("a", "a.example", &["shop/a"]));
    [listener].into_iter().chain(certificate)
}

/// Why a client that trusts `trusted` refuses the certificate that it is shown.
async fn refusal(running: &Running, trusted: &CertificateDer<'static>) -> CertificateError {
    let stream = connect_tls(running.address("a"), "a.example", trusted, &[]).await;
    let error = stream.err().unwrap().into_inner().unwrap();
    match *error.downcast::<rustls::Error>().unwrap() {
        rustls::Error::InvalidCertificate(error) => error,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn certificates_out_of_date_or_for_other_names_are_served_and_told() {
    let (parts, expired) = certificate_of("shop/a", &["a.example"], 1990..2000);
    let running = serving_with(Limits::default(), parts).await;
    assert!(matches!(
        refusal(&running, &expired).await,
        CertificateError::ExpiredContext { .. }
    ));
    running
        .wait_for_metric("certificate_expiry_timestamp_seconds{certificate=\"shop/a\"} 946684800")
        .await;
    let (parts, early) = certificate_of("shop/a", &["a.example"], 3000..4000);
    running.configd.apply(&snapshot(2, listening(parts))).await;
    assert!(matches!(
        refusal(&running, &early).await,
        CertificateError::NotValidYetContext { .. }
    ));
    let (parts, other) = certificate("shop/a", &["b.example"]);
    running.configd.apply(&snapshot(3, listening(parts))).await;
    assert!(matches!(
        refusal(&running, &other).await,
        CertificateError::NotValidForNameContext { .. }
    ));
}

/// Waits until a connection has ended for a reason as often as that.
async fn ended(running: &Running, reason: &str, times: usize) {
    let line = format!("connections_ended_total{{reason=\"{reason}\"}} {times}");
    running.wait_for_metric(&line).await;
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_their_reason() {
    let (parts, trusted) = certificate("shop/a", &["a.example"]);
    let (_, stranger) = certificate("shop/b", &["a.example"]);
    let running = serving_with(Limits::default(), parts).await;
    let address = running.address("a");
    assert!(
        connect_tls(address, "b.example", &trusted, &[])
            .await
            .is_err()
    );
    ended(&running, "tls_no_certificate", 1).await;
    assert!(
        connect_tls(address, "a.example", &trusted, &[b"spdy/3"])
            .await
            .is_err()
    );
    ended(&running, "tls_protocol", 1).await;
    assert!(
        connect_tls(address, "a.example", &stranger, &[])
            .await
            .is_err()
    );
    ended(&running, "tls_alert", 1).await;
    send_raw(address, &hello_of_2006(b"\x03\x02", b"\xc0\x2f", SCHEMES)).await;
    ended(&running, "tls_version", 1).await;
    send_raw(address, &hello_of_2006(b"\x03\x02", b"\xc0\x2f", b"")).await;
    ended(&running, "tls_version", 2).await;
    send_raw(address, &hello_of_2006(b"\x03\x03", b"\x00\x2f", SCHEMES)).await;
    ended(&running, "tls_nothing_in_common", 1).await;
    send_raw(address, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00").await;
    ended(&running, "tls_handshake", 1).await;
    let mut gone = TcpStream::connect(address).await.unwrap();
    gone.write_all(b"\x16\x03\x01").await.unwrap();
    drop(gone);
    ended(&running, "tls_closed", 1).await;
}

/// The extension of signature schemes with one of them, which came with TLS 1.2.
const SCHEMES: &[u8] = b"\x00\x0d\x00\x04\x00\x02\x04\x03";

/// A hello of that version with one cipher suite, a name, a group and further extensions.
fn hello_of_2006(version: &[u8; 2], suite: &[u8; 2], more: &[u8]) -> Vec<u8> {
    let name = b"\x00\x00\x00\x0e\x00\x0c\x00\x00\x09a.example";
    let groups = b"\x00\x0a\x00\x04\x00\x02\x00\x17";
    let extensions = [&name[..], groups, more].concat();
    let extensions_len = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [
        version,
        &[7; 32][..],
        b"\0\0\x02",
        suite,
        b"\x01\0",
        &extensions_len,
        &extensions,
    ];
    let body = body.concat();
    let len = u16::try_from(body.len()).unwrap();
    let (record, message) = ((len + 4).to_be_bytes(), len.to_be_bytes());
    [b"\x16\x03\x01", &record[..], b"\x01\0", &message, &body].concat()
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_ended() {
    let (parts, _) = certificate("shop/a", &["a.example"]);
    let limits = Limits {
        handshake_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = serving_with(limits, parts).await;
    let answer = send_raw(running.address("a"), b"\x16").await;
    assert_eq!(answer, "");
    ended(&running, "tls_timeout", 1).await;
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
