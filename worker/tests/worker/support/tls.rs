//! Listeners with TLS, and clients for them.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tidegate_ir::{
    Backend, BackendProtocol, BackendTls, Certificate, Hostname, Listener, ListenerProtocol,
    ObjectName, Part, PrivateKey, SecretBytes, Security, Trust, TrustBundle,
};
use tokio::net::{TcpListener, TcpStream};

use super::Running;
use super::backend::Echo;
use super::configd::snapshot;
use super::parts::{attachment, backend, backend_of, listener_at, route, to};

/// A certificate for some names, as the parts of a snapshot and as what a client trusts.
pub fn certificate(name: &str, dns: &[&str]) -> (Vec<Part>, CertificateDer<'static>) {
    certificate_of(name, dns, 2020..4000)
}

/// A certificate that is valid from the start of one year to the start of another.
pub fn certificate_of(
    name: &str,
    dns: &[&str],
    years: Range<i32>,
) -> (Vec<Part>, CertificateDer<'static>) {
    let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    let parts = vec![
        Part::Certificate(Certificate {
            name: name.into(),
            chain: vec![Bytes::copy_from_slice(&der)],
            dns_names: dns
                .iter()
                .map(|name| Hostname::parse(name).unwrap())
                .collect(),
            not_after_unix_s: params.not_after.unix_timestamp(),
            private_key: name.into(),
        }),
        Part::PrivateKey(PrivateKey {
            name: name.into(),
            der: SecretBytes::new(key.serialize_der()),
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
        Part::from(https("a", "a.example", &["shop/a"])),
        Part::from(https("b", "*.b.example", &["shop/b"])),
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

/// Ends TLS for a name in front of a plain address: where, and what its clients have to trust.
pub async fn in_front(
    plain: SocketAddr,
    name: &str,
    alpn: &[&[u8]],
) -> (SocketAddr, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let name = name.to_owned();
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, name) = (acceptor.clone(), name.clone());
            tokio::task::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else {
                    return;
                };
                assert_eq!(outer.get_ref().1.server_name(), Some(&*name));
                let mut inner = TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    (address, certificate)
}

/// A backend that ends TLS for `inner.example` in front of a plain address, and is asked for `server_name`.
pub async fn behind_tls(
    name: &str,
    plain: SocketAddr,
    protocol: BackendProtocol,
    server_name: &str,
) -> Vec<Part> {
    let alpn: &[&[u8]] = match protocol {
        BackendProtocol::Http1 => &[b"http/1.1"],
        BackendProtocol::Http2 => &[b"h2"],
        BackendProtocol::Tcp | BackendProtocol::Udp => &[],
    };
    let (address, certificate) = in_front(plain, "inner.example", alpn).await;
    let mut parts = backend_of(name, &[address], protocol);
    parts[0] = Part::Backend(Box::new(Backend {
        protocol,
        security: Security::Tls(BackendTls {
            server_name: server_name.into(),
            sans: vec![],
            trust: Trust::Bundle(name.into()),
            client_certificate: None,
        }),
        ..Backend::of_service(name, ObjectName::new("shop", name), 80)
    }));
    parts.push(Part::TrustBundle(TrustBundle {
        name: name.into(),
        certificates: vec![Bytes::copy_from_slice(&certificate)],
    }));
    parts
}
