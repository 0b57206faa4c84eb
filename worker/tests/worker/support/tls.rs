//! Listeners with TLS, and clients for them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use tidegate_ir::{
    Certificate, Hostname, Listener, ListenerProtocol, Part, PrivateKey, SecretBytes,
};
use tokio::net::TcpStream;

use super::Running;
use super::backend::Echo;
use super::configd::snapshot;
use super::parts::{attachment, backend, listener_at, route, to};

/// A certificate for some names, as the parts of a snapshot and as what a client trusts.
pub fn certificate(name: &str, dns: &[&str]) -> (Vec<Part>, CertificateDer<'static>) {
    let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let der = made.cert.der().clone();
    let parts = vec![
        Part::Certificate(Certificate {
            name: name.into(),
            chain: vec![Bytes::copy_from_slice(&der)],
            dns_names: dns
                .iter()
                .map(|name| Hostname::parse(name).unwrap())
                .collect(),
            not_after_unix_s: 4_000_000_000,
            private_key: name.into(),
        }),
        Part::PrivateKey(PrivateKey {
            name: name.into(),
            der: SecretBytes::new(made.signing_key.serialize_der()),
        }),
    ];
    (parts, der)
}

pub fn https(section: &str, host: &str, certificates: &[&str]) -> Listener {
    let certificates = certificates.iter().map(|name| (*name).into()).collect();
    Listener {
        protocol: ListenerProtocol::Https {
            certificates,
            client_validation: None,
        },
        ..listener_at(section, 443, host)
    }
}

/// A TLS connection that trusts only `trusted`.
pub async fn connect_tls(
    address: SocketAddr,
    name: &str,
    trusted: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

pub async fn tls_worker() -> (
    Running,
    Echo,
    CertificateDer<'static>,
    CertificateDer<'static>,
) {
    let echo = Echo::start("a").await;
    let (a_parts, a) = certificate("shop/a", &["a.example"]);
    let (b_parts, b) = certificate("shop/b", &["*.b.example"]);
    let mut route = route("r", vec![to("/", "a")]);
    route.attachments = vec![
        attachment("infra/gw/a", &["a.example"]),
        attachment("infra/gw/b", &["*.b.example"]),
    ];
    let parts = [
        Part::Listener(https("a", "a.example", &["shop/a"])),
        Part::Listener(https("b", "*.b.example", &["shop/b"])),
        Part::Route(route),
    ];
    let parts = parts.into_iter().chain(a_parts).chain(b_parts);
    let running = Running::start().await;
    running
        .configd
        .apply(&snapshot(1, parts.chain(backend("a", &[echo.address]))))
        .await;
    (running, echo, a, b)
}
