//! TLSRoutes: which backend a server name leads to, where TLS ends, and what is closed without a word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tidegate_ir::*;
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::backend::Echo;
use crate::support::bytes::{Greeter, end, greeting, lines};
use crate::support::client::send_raw;
use crate::support::configd::snapshot;
use crate::support::parts::{
    attachment, backend, backend_of, l4_listener, l4_route, route, share, to,
};
use crate::support::tls::{behind_tls, certificate, connect_tls, https, in_front};
use crate::support::{Running, Setup};

fn passthrough(section: &str, host: &str) -> Part {
    let protocol = ListenerProtocol::Tls(TlsMode::Passthrough);
    Part::from(l4_listener(section, 443, host, protocol))
}

fn terminate(section: &str, host: &str, certificates: &[&str]) -> Part {
    let protocol = ListenerProtocol::Tls(TlsMode::Terminate {
        certificates: certificates.iter().map(|name| (*name).into()).collect(),
        client_validation: None,
    });
    Part::from(l4_listener(section, 443, host, protocol))
}

/// A route of a name on a listener to the backend of the route's name.
fn named(name: &str, section: &str, hosts: &[&str]) -> L4Route {
    let attachments = vec![attachment(&format!("infra/gw/{section}"), hosts)];
    l4_route(L4RouteKind::Tls, name, attachments, vec![share(name, 1)])
}

fn bytes_to(name: &str, address: SocketAddr) -> Vec<Part> {
    backend_of(name, &[address], BackendProtocol::Tcp)
}

async fn applied(parts: impl IntoIterator<Item = Part>) -> Running {
    let running = Running::start().await;
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

/// What a backend behind TLS says first to a client that asks for a name and trusts a certificate.
async fn greeted(
    address: SocketAddr,
    name: &str,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<String> {
    greeting(&mut connect_tls(address, name, trusted, &[]).await?).await
}

/// A backend that ends TLS for a name and greets with another one.
async fn secret(name: &str, says: &str) -> (SocketAddr, CertificateDer<'static>) {
    let greeter = Greeter::start(says).await;
    in_front(greeter.address, name, &[]).await
}

/// The bytes of a ClientHello for a name; an address is no name that is sent.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Says something and waits for the end; nothing may come before it, not even an alert.
async fn closed_without_a_word(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    end(stream).await;
}

#[tokio::test]
async fn the_server_name_decides_and_tls_ends_at_the_backend() {
    let (a, trust_a) = secret("a.example", "a").await;
    let (b, trust_b) = secret("x.b.example", "b").await;
    let parts = [
        passthrough("tls", ""),
        Part::L4Route(named("a", "tls", &["a.example"])),
        Part::L4Route(named("b", "tls", &["*.b.example"])),
    ];
    let parts = parts.into_iter().chain(bytes_to("a", a));
    let running = applied(parts.chain(bytes_to("b", b))).await;
    let address = running.address("tls");
    assert_eq!(greeted(address, "a.example", &trust_a).await.unwrap(), "a");
    assert_eq!(
        greeted(address, "x.b.example", &trust_b).await.unwrap(),
        "b"
    );
    running
        .wait_for_metric("protocol=\"tls\",gateway_namespace=\"infra\"")
        .await;
}

#[tokio::test]
async fn the_most_specific_listener_then_the_most_specific_claim_then_the_oldest_route_wins() {
    let [(exact, t0), (wild, t1), (any, t2)] = [
        secret("a.x.example", "exact").await,
        secret("b.x.example", "wild").await,
        secret("c.example", "any").await,
    ];
    let mut younger = named("any", "wild", &["a.x.example"]);
    younger.created_at_unix_s = 100;
    younger.object = ObjectName::new("shop", "younger");
    let parts = [
        passthrough("all", ""),
        passthrough("wild", "*.x.example"),
        Part::L4Route(named("any", "all", &[""])),
        Part::L4Route(named("wild", "wild", &["*.x.example"])),
        Part::L4Route(named("exact", "wild", &["a.x.example"])),
        Part::L4Route(younger),
    ];
    let parts = parts.into_iter().chain(bytes_to("exact", exact));
    let parts = parts
        .chain(bytes_to("wild", wild))
        .chain(bytes_to("any", any));
    let running = applied(parts).await;
    let address = running.address("all");
    assert_eq!(greeted(address, "a.x.example", &t0).await.unwrap(), "exact");
    assert_eq!(greeted(address, "b.x.example", &t1).await.unwrap(), "wild");
    assert_eq!(greeted(address, "c.example", &t2).await.unwrap(), "any");
}

#[tokio::test]
async fn what_nobody_serves_is_closed_without_an_alert() {
    let (a, _) = secret("a.example", "a").await;
    let mut broken = named("broken", "tls", &["broken.example"]);
    broken.choices[0].target = Target::Fault("no such backend".into());
    let mut ends_here = named("ends-here", "ending", &["broken.ending.example"]);
    ends_here.choices[0].target = Target::Fault("no such backend".into());
    let (certificate, _) = certificate("shop/c", &["*.ending.example"]);
    let parts = [
        passthrough("tls", "*.example"),
        terminate("ending", "*.ending.example", &["shop/c"]),
        Part::L4Route(named("a", "tls", &["a.example"])),
        Part::L4Route(broken),
        Part::L4Route(ends_here),
    ];
    let parts = parts.into_iter().chain(certificate);
    let running = applied(parts.chain(bytes_to("a", a))).await;
    let address = running.address("tls");
    for (name, reason) in [
        ("other.example", "no_route"),
        ("other.org", "no_listener"),
        ("127.0.0.1", "no_listener"),
        ("broken.example", "rule_invalid"),
        ("broken.ending.example", "rule_invalid"),
        ("none.ending.example", "no_route"),
    ] {
        closed_without_a_word(address, &hello(name)).await;
        running
            .wait_for_metric(&format!("reason=\"{reason}\"}}"))
            .await;
    }
}

#[tokio::test]
async fn tls_that_ends_here_leads_to_plain_bytes() {
    let greeter = Greeter::start("plain").await;
    let (parts, trusted) = certificate("shop/c", &["a.example"]);
    let parts = parts.into_iter().chain([
        terminate("tls", "a.example", &["shop/c"]),
        Part::L4Route(named("a", "tls", &["a.example"])),
    ]);
    let running = applied(parts.chain(bytes_to("a", greeter.address))).await;
    let offered: &[&[u8]] = &[b"postgresql", b"h2"];
    let connected = connect_tls(running.address("tls"), "a.example", &trusted, offered).await;
    let mut stream = connected.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    assert_eq!(greeting(&mut stream).await.unwrap(), "plain");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = async {
        to.write_all(&sent).await.unwrap();
        // The end of the client's side alone.
        to.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let ((), read) = tokio::join!(sending, from.read_to_end(&mut got));
    read.unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
}

#[tokio::test]
async fn tls_that_ends_here_may_begin_anew_towards_the_backend() {
    let greeter = Greeter::start("inner").await;
    let inner = behind_tls("a", greeter.address, BackendProtocol::Tcp, "inner.example").await;
    let wrong = behind_tls("b", greeter.address, BackendProtocol::Tcp, "other.example").await;
    let (parts, trusted) = certificate("shop/c", &["a.example", "b.example"]);
    let parts = parts.into_iter().chain([
        terminate("tls", "", &["shop/c"]),
        Part::L4Route(named("a", "tls", &["a.example"])),
        Part::L4Route(named("b", "tls", &["b.example"])),
    ]);
    let running = applied(parts.chain(inner).chain(wrong)).await;
    let address = running.address("tls");
    let mut stream = connect_tls(address, "a.example", &trusted, &[])
        .await
        .unwrap();
    assert_eq!(greeting(&mut stream).await.unwrap(), "inner");
    stream.write_all(b"and back\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(lines(stream).await.unwrap(), ["and back"]);
    assert!(greeted(address, "b.example", &trusted).await.is_err());
    running.wait_for_metric("reason=\"upstream_tls\"} 1").await;
}

#[tokio::test]
async fn both_modes_and_https_share_a_port() {
    let (there, trust_there) = secret("there.example", "there").await;
    let (greeter, echo) = (Greeter::start("here").await, Echo::start("web").await);
    let (here_parts, trust_here) = certificate("shop/here", &["here.example"]);
    let (web_parts, trust_web) = certificate("shop/web", &["web.example"]);
    let mut web = route("web", vec![to("/", "web")]);
    web.attachments = vec![attachment("infra/gw/web", &["web.example"])];
    let parts = [
        passthrough("there", "there.example"),
        terminate("here", "here.example", &["shop/here"]),
        Part::from(https("web", "web.example", &["shop/web"])),
        Part::L4Route(named("there", "there", &["there.example"])),
        Part::L4Route(named("here", "here", &["here.example"])),
        Part::Route(web),
    ];
    let parts = parts.into_iter().chain(here_parts).chain(web_parts);
    let parts = parts.chain(bytes_to("there", there));
    let parts = parts.chain(bytes_to("here", greeter.address));
    let running = applied(parts.chain(backend("web", &[echo.address]))).await;
    let address = running.address("web");
    for _ in 0..2 {
        let said = greeted(address, "there.example", &trust_there).await;
        assert_eq!(said.unwrap(), "there");
        let said = greeted(address, "here.example", &trust_here).await;
        assert_eq!(said.unwrap(), "here");
        let connected = connect_tls(address, "web.example", &trust_web, &[b"http/1.1"]).await;
        let mut stream = connected.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let asks = b"GET / HTTP/1.1\r\nhost: web.example\r\nconnection: close\r\n\r\n";
        stream.write_all(asks).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Nothing of the names of others is served.
    closed_without_a_word(address, &hello("other.example")).await;
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte_and_in_many_records() {
    let (a, trusted) = secret("a.example", "a").await;
    let parts = [
        passthrough("tls", ""),
        Part::L4Route(named("a", "tls", &["a.example"])),
    ];
    let running = applied(parts.into_iter().chain(bytes_to("a", a))).await;
    let mut stream = TcpStream::connect(running.address("tls")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in hello("a.example") {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // A ServerHello: the backend has got all of it.
    assert_eq!(stream.read_u8().await.unwrap(), 22);
    let whole = hello("a.example");
    let mut pieces = Vec::new();
    for piece in whole[5..].chunks(7) {
        pieces.extend([22, 3, 1, 0, u8::try_from(piece.len()).unwrap()]);
        pieces.extend(piece);
    }
    let mut stream = TcpStream::connect(running.address("tls")).await.unwrap();
    stream.write_all(&pieces).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 22);
    assert_eq!(
        greeted(running.address("tls"), "a.example", &trusted)
            .await
            .unwrap(),
        "a"
    );
}

#[tokio::test]
async fn a_hello_that_never_ends_is_not_waited_for() {
    let (a, _) = secret("a.example", "a").await;
    let setup = Setup {
        limits: Limits {
            handshake_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let running = Running::start_with(setup).await;
    let parts = [
        passthrough("tls", ""),
        Part::L4Route(named("a", "tls", &["a.example"])),
    ];
    let parts = parts.into_iter().chain(bytes_to("a", a));
    running.configd.apply(&snapshot(1, parts)).await;
    closed_without_a_word(running.address("tls"), &hello("a.example")[..100]).await;
    closed_without_a_word(running.address("tls"), b"").await;
    running
        .wait_for_metric("connections_ended_total{reason=\"tls_timeout\"} 2")
        .await;
}

#[tokio::test]
async fn what_is_no_hello_is_closed_without_a_word() {
    let (a, _) = secret("a.example", "a").await;
    let parts = [
        passthrough("tls", ""),
        Part::L4Route(named("a", "tls", &["a.example"])),
    ];
    let running = applied(parts.into_iter().chain(bytes_to("a", a))).await;
    let address = running.address("tls");
    let asks = b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
    let alert = [21, 3, 3, 0, 2, 2, 40];
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 16_379]].concat();
    for bytes in [&asks[..], &[0; 64], &alert, &endless, &[255; 20_000]] {
        assert_eq!(send_raw(address, bytes).await, "");
    }
    // One that ends too early.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&hello("a.example")[..50]).await.unwrap();
    stream.shutdown().await.unwrap();
    end(stream).await;
    running
        .wait_for_metric("connections_ended_total{reason=\"no_client_hello\"} 6")
        .await;
}

#[tokio::test]
async fn a_handshake_that_fails_reaches_no_backend() {
    let greeter = Greeter::start("plain").await;
    let (parts, _) = certificate("shop/c", &["a.example"]);
    let (_, other) = certificate("shop/d", &["a.example"]);
    let parts = parts.into_iter().chain([
        terminate("tls", "a.example", &["shop/c"]),
        Part::L4Route(named("a", "tls", &["a.example"])),
    ]);
    let running = applied(parts.chain(bytes_to("a", greeter.address))).await;
    let refused = connect_tls(running.address("tls"), "a.example", &other, &[]).await;
    refused.expect_err("another authority is trusted");
    running.wait_for_metric("reason=\"tls_alert\"} 1").await;
    assert_eq!(greeter.accepted(), 0);
}
