//! Clients that must show a certificate (GEP-91): who gets in, who does not, and that tickets change nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tidegate_ir::{
    BackendProtocol, Certificate, ClientValidation, Hostname, L4RouteKind, Listener,
    ListenerProtocol, Part, PrivateKey, SecretBytes, TlsMode, TrustBundle,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::configd::snapshot;
use crate::support::parts::{
    attachment, backend, backend_of, l4_listener, l4_route, listener_at, route, share, to,
};

const HOST: &str = "secure.example";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A worker with a port that trusts one authority, one that trusts another, one that lets all in, and one
/// that trusts the first and passes on what TLS holds.
struct Guarded {
    running: Running,
    echo: Echo,
    server: CertificateDer<'static>,
    one: Authority,
    other: Authority,
}

impl Guarded {
    async fn start() -> Self {
        let (one, other, echo) = (authority(), authority(), Echo::start("a").await);
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
        let server = made.cert.der().clone();
        let mut route = route("r", vec![to("/", "a")]);
        let sections = ["one", "other", "lenient"];
        route.attachments = sections
            .map(|section| attachment(&format!("infra/gw/{section}"), &[HOST]))
            .into();
        let parts = [
            Part::from(asking("one", 443, "one", false)),
            Part::from(asking("other", 444, "other", false)),
            Part::from(asking("lenient", 445, "one", true)),
            Part::from(ending_tls("bytes", 446, "one")),
            bundle("one", &one),
            bundle("other", &other),
            Part::Route(route),
            Part::L4Route(l4_route(
                L4RouteKind::Tls,
                "bytes",
                vec![attachment("infra/gw/bytes", &[HOST])],
                vec![share("bytes", 1)],
            )),
            Part::Certificate(Certificate {
                name: "server".into(),
                chain: vec![Bytes::copy_from_slice(&server)],
                dns_names: vec![Hostname::parse(HOST).unwrap()],
                not_after_unix_s: 4_000_000_000,
                private_key: "server".into(),
            }),
            Part::PrivateKey(PrivateKey {
                name: "server".into(),
                der: SecretBytes::new(made.signing_key.serialize_der()),
            }),
        ];
        let running = Running::start().await;
        let bytes = backend_of("bytes", &[echo.address], BackendProtocol::Tcp);
        let parts = parts
            .into_iter()
            .chain(backend("a", &[echo.address]))
            .chain(bytes);
        running.configd.apply(&snapshot(1, parts)).await;
        Self {
            running,
            echo,
            server,
            one,
            other,
        }
    }

    /// A client that shows a certificate of an authority, or none; its tickets stay with it.
    fn client(&self, authority: Option<&Authority>) -> Arc<ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.server.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let Some(authority) = authority else {
            return Arc::new(builder.with_no_client_auth());
        };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_client_auth_cert(vec![leaf.der().clone()], key);
        Arc::new(config.unwrap())
    }

    /// Whether a request of the client is answered with 200; the server may refuse it at any time.
    async fn lets_in(&self, section: &str, client: &Arc<ClientConfig>) -> bool {
        let answer = ask(self.running.address(section), client.clone()).await;
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

async fn ask(address: SocketAddr, client: Arc<ClientConfig>) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(HOST).unwrap();
    let connector = tokio_rustls::TlsConnector::from(client);
    let mut stream = connector.connect(name, stream).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn asking(section: &str, port: u16, trust: &str, insecure_fallback: bool) -> Listener {
    Listener {
        protocol: ListenerProtocol::Https {
            certificates: vec!["server".into()],
            client_validation: validation(trust, insecure_fallback),
        },
        ..listener_at(section, port, HOST)
    }
}

fn ending_tls(section: &str, port: u16, trust: &str) -> Listener {
    let mode = TlsMode::Terminate {
        certificates: vec!["server".into()],
        client_validation: validation(trust, false),
    };
    l4_listener(section, port, HOST, ListenerProtocol::Tls(mode))
}

fn validation(trust: &str, insecure_fallback: bool) -> Option<ClientValidation> {
    Some(ClientValidation {
        trust: trust.into(),
        insecure_fallback,
    })
}

fn bundle(name: &str, authority: &Authority) -> Part {
    Part::TrustBundle(TrustBundle {
        name: name.into(),
        certificates: vec![Bytes::copy_from_slice(authority.der())],
    })
}

#[tokio::test]
async fn only_certificates_of_the_trusted_authority_get_in() {
    let guarded = Guarded::start().await;
    let (nobody, friend) = (guarded.client(None), guarded.client(Some(&guarded.one)));
    let stranger = guarded.client(Some(&guarded.other));
    assert!(guarded.lets_in("one", &friend).await);
    assert!(!guarded.lets_in("one", &nobody).await);
    assert!(!guarded.lets_in("one", &stranger).await);
    guarded
        .running
        .wait_for_metric("connections_ended_total{reason=\"tls_client_certificate\"} 2")
        .await;
    assert!(guarded.lets_in("other", &stranger).await);
    assert_eq!(guarded.echo.count(), 2);
}

#[tokio::test]
async fn the_insecure_fallback_lets_anybody_in() {
    let guarded = Guarded::start().await;
    for authority in [None, Some(&guarded.one), Some(&guarded.other)] {
        let client = guarded.client(authority);
        assert!(guarded.lets_in("lenient", &client).await);
    }
}

#[tokio::test]
async fn a_ticket_of_one_port_does_not_open_another() {
    let guarded = Guarded::start().await;
    let friend = guarded.client(Some(&guarded.one));
    assert!(guarded.lets_in("one", &friend).await);
    assert!(guarded.lets_in("one", &friend).await);
    assert!(!guarded.lets_in("other", &friend).await);
    let nobody = guarded.client(None);
    assert!(guarded.lets_in("lenient", &nobody).await);
    assert!(!guarded.lets_in("one", &nobody).await);
    assert_eq!(guarded.echo.count(), 3);
}

#[tokio::test]
async fn a_listener_that_passes_on_what_tls_holds_asks_as_well() {
    let guarded = Guarded::start().await;
    let friend = guarded.client(Some(&guarded.one));
    assert!(guarded.lets_in("bytes", &friend).await);
    for authority in [None, Some(&guarded.other)] {
        assert!(!guarded.lets_in("bytes", &guarded.client(authority)).await);
    }
    guarded
        .running
        .wait_for_metric("connections_ended_total{reason=\"tls_client_certificate\"} 2")
        .await;
    assert_eq!(
        guarded.echo.count(),
        1,
        "what is refused reaches no backend"
    );
}
