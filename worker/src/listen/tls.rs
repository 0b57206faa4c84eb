//! TLS that ends at the worker: name to listener, listener to certificate.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_ir::{
    Certificate, Digest, EncodedPart, Hostname, Listener, ListenerProtocol, PartKey, PartKind,
    PartName, Snapshot,
};
use tidegate_router::{HostMap, Problem};

use super::any_client::AnyClient;

/// Makes the TLS side of ports; keeps what outlives a snapshot, so that sessions resume across them.
#[derive(Debug)]
pub(crate) struct TlsBuilder {
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    /// The authorities that the system trusts, read when they are first needed.
    system: OnceLock<Arc<RootCertStore>>,
}

/// The TLS side of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct TlsPorts {
    configs: HashMap<(u16, Inside), Arc<ServerConfig>>,
    keys: BTreeMap<PartName, UsableKey>,
    /// Authorities of bundles, with the digest of the bundle.
    roots: BTreeMap<PartName, (Digest, Arc<RootCertStore>)>,
    /// How clients are verified, by what is asked: sessions resume only under equal terms.
    clients: BTreeMap<Terms, ClientCheck>,
}

/// What a connection carries inside of its TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Inside {
    Http,
    /// Bytes that are passed on as they are.
    Bytes,
}

/// What is asked of clients: digest of the bundle, and whether anything is let in.
type Terms = (Digest, bool);

/// A verifier of clients' certificates, and the tickets of the sessions that passed it.
#[derive(Debug, Clone)]
struct ClientCheck {
    verifier: Arc<dyn ClientCertVerifier>,
    ticketer: Arc<dyn ProducesTickets>,
}

/// What the listeners of a port that carry the same have in common.
#[derive(Debug, Default)]
struct Port {
    listeners: BTreeMap<Hostname, ListenerCertificates>,
    terms: Option<Terms>,
}

/// A certificate with its key, checked, and the digests of the parts that it was made of.
#[derive(Debug, Clone)]
struct UsableKey {
    certificate: Digest,
    private_key: Option<Digest>,
    dns_names: Vec<Hostname>,
    key: Arc<CertifiedKey>,
}

/// The certificates of one port, by listener.
#[derive(Debug)]
struct PortCertificates {
    listeners: HostMap<ListenerCertificates>,
}

/// The certificates of one listener.
#[derive(Debug)]
struct ListenerCertificates {
    by_name: HostMap<Arc<CertifiedKey>>,
    /// The first one, for names that none has.
    default: Option<Arc<CertifiedKey>>,
}

impl TlsBuilder {
    /// A builder with ticket keys of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            ticketer: rustls::crypto::aws_lc_rs::Ticketer::new()?,
            system: OnceLock::new(),
        })
    }

    /// The TLS side of a snapshot; keys that did not change are taken from `previous`, and what is wrong
    /// is added to `problems`.
    pub(crate) fn build(
        &self,
        snapshot: &Snapshot,
        previous: Option<&TlsPorts>,
        problems: &mut Vec<Problem>,
    ) -> TlsPorts {
        let keys = self.keys(snapshot, previous, problems);
        let roots = roots(snapshot, previous, problems);
        let mut clients = BTreeMap::new();
        let mut ports: BTreeMap<(u16, Inside), Port> = BTreeMap::new();
        for listener in snapshot.listeners() {
            let Some((certificates, client_validation)) = listener.protocol.ends_tls_with() else {
                continue;
            };
            let inside = if listener.protocol.is_http() {
                Inside::Http
            } else {
                Inside::Bytes
            };
            let terms = client_validation.and_then(|asked| {
                let Some((digest, roots)) = roots.get(&asked.trust) else {
                    // Without it nobody would be asked for a certificate.
                    let message = format!("its trust bundle {} is missing", asked.trust);
                    problems.push(problem(listener, message));
                    return None;
                };
                let terms = (*digest, asked.insecure_fallback);
                if let Entry::Vacant(unknown) = clients.entry(terms) {
                    match self.client_check(terms, roots, previous) {
                        Ok(check) => drop(unknown.insert(check)),
                        Err(message) => problems.push(problem(listener, message)),
                    }
                }
                Some(terms)
            });
            let port = ports.entry((listener.bind_port, inside)).or_default();
            if !port.listeners.is_empty() && port.terms != terms {
                let message =
                    "other listeners of its port ask something else of clients' certificates";
                problems.push(problem(listener, message.to_owned()));
            }
            port.terms = terms;
            let certificates = listener_certificates(certificates, &keys);
            port.listeners
                .insert(listener.hostname.clone(), certificates);
        }
        for listener in snapshot.listeners() {
            if listener.protocol == ListenerProtocol::Http
                && ports.contains_key(&(listener.bind_port, Inside::Http))
            {
                problems.push(mixed(listener));
            }
        }
        let configs = ports.into_iter().map(|(place, port)| {
            let check = port.terms.and_then(|terms| clients.get(&terms));
            (place, self.config(place.1, port.listeners, check))
        });
        TlsPorts {
            configs: configs.collect(),
            keys,
            roots,
            clients,
        }
    }

    /// What TLS to backends is set up with.
    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// The authorities that the system trusts; none where it has none.
    pub(crate) fn system_roots(&self) -> Arc<RootCertStore> {
        let load = || {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            tracing::info!(added, "read the authorities that the system trusts");
            Arc::new(roots)
        };
        self.system.get_or_init(load).clone()
    }

    fn client_check(
        &self,
        terms: Terms,
        roots: &Arc<RootCertStore>,
        previous: Option<&TlsPorts>,
    ) -> Result<ClientCheck, String> {
        if let Some(known) = previous.and_then(|previous| previous.clients.get(&terms)) {
            return Ok(known.clone());
        }
        let verifier: Arc<dyn ClientCertVerifier> = match terms {
            (_, true) => Arc::new(AnyClient::new(self.provider.clone())),
            (_, false) => {
                let builder = WebPkiClientVerifier::builder_with_provider(
                    roots.clone(),
                    self.provider.clone(),
                );
                builder.build().map_err(|error| error.to_string())?
            }
        };
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new();
        Ok(ClientCheck {
            verifier,
            ticketer: ticketer.map_err(|error| error.to_string())?,
        })
    }

    fn config(
        &self,
        inside: Inside,
        listeners: BTreeMap<Hostname, ListenerCertificates>,
        check: Option<&ClientCheck>,
    ) -> Arc<ServerConfig> {
        let certificates = PortCertificates {
            listeners: HostMap::new(listeners),
        };
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions");
        let builder = match check {
            Some(check) => builder.with_client_cert_verifier(check.verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = match inside {
            Inside::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            // Only the backend knows what it speaks, and it does not see the handshake.
            Inside::Bytes => vec![],
        };
        config.ticketer = check
            .map_or(&self.ticketer, |check| &check.ticketer)
            .clone();
        config.send_tls13_tickets = 1;
        Arc::new(config)
    }

    fn keys(
        &self,
        snapshot: &Snapshot,
        previous: Option<&TlsPorts>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<PartName, UsableKey> {
        let mut keys = BTreeMap::new();
        for certificate in snapshot.certificates() {
            let part = PartKey::new(PartKind::Certificate, certificate.name.clone());
            let private = PartKey::new(PartKind::PrivateKey, certificate.private_key.clone());
            let digest = |key: &PartKey| snapshot.get(key).map(EncodedPart::digest);
            let of = digest(&part).expect("the certificate is a part of the snapshot");
            let private_key = digest(&private);
            let known = previous.and_then(|previous| previous.keys.get(&certificate.name));
            let known = known.filter(|k| k.certificate == of && k.private_key == private_key);
            let usable = known.cloned().map_or_else(
                || {
                    Ok(UsableKey {
                        certificate: of,
                        private_key,
                        dns_names: certificate.dns_names.clone(),
                        key: Arc::new(self.key(snapshot, certificate)?),
                    })
                },
                Ok,
            );
            match usable {
                Ok(usable) => drop(keys.insert(certificate.name.clone(), usable)),
                Err(message) => problems.push(Problem { part, message }),
            }
        }
        keys
    }

    fn key(&self, snapshot: &Snapshot, certificate: &Certificate) -> Result<CertifiedKey, String> {
        let key = snapshot
            .private_key(&certificate.private_key)
            .ok_or_else(|| format!("its private key {} is missing", certificate.private_key))?;
        let key = PrivateKeyDer::try_from(key.der.expose().to_vec())
            .map_err(|cause| format!("its private key cannot be read: {cause}"))?;
        let chain = certificate
            .chain
            .iter()
            .map(|der| CertificateDer::from(der.to_vec()));
        CertifiedKey::from_der(chain.collect(), key, &self.provider)
            .map_err(|cause| format!("certificate and private key cannot be used: {cause}"))
    }
}

impl TlsPorts {
    /// How TLS ends on a port, `None` where it does not.
    pub(crate) fn config(&self, bind_port: u16, inside: Inside) -> Option<&Arc<ServerConfig>> {
        self.configs.get(&(bind_port, inside))
    }

    /// A certificate of the snapshot with its key, to show to backends.
    pub(crate) fn key(&self, name: &PartName) -> Option<&Arc<CertifiedKey>> {
        self.keys.get(name).map(|usable| &usable.key)
    }

    /// The authorities of a bundle of the snapshot.
    pub(crate) fn roots(&self, name: &PartName) -> Option<&Arc<RootCertStore>> {
        self.roots.get(name).map(|(_, roots)| roots)
    }
}

/// The authorities of each bundle; those that did not change are taken from `previous`.
fn roots(
    snapshot: &Snapshot,
    previous: Option<&TlsPorts>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<PartName, (Digest, Arc<RootCertStore>)> {
    let mut all = BTreeMap::new();
    for bundle in snapshot.trust_bundles() {
        let part = PartKey::new(PartKind::TrustBundle, bundle.name.clone());
        let digest = snapshot.get(&part).map(EncodedPart::digest);
        let digest = digest.expect("the bundle is a part of the snapshot");
        let known = previous.and_then(|previous| previous.roots.get(&bundle.name));
        if let Some(known) = known.filter(|(of, _)| *of == digest) {
            all.insert(bundle.name.clone(), known.clone());
            continue;
        }
        let mut roots = RootCertStore::empty();
        let certificates = bundle.certificates.iter();
        let certificates = certificates.map(|der| CertificateDer::from(der.to_vec()));
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            let message = "none of its certificates can be an authority".to_owned();
            problems.push(Problem { part, message });
        }
        all.insert(bundle.name.clone(), (digest, Arc::new(roots)));
    }
    all
}

impl ResolvesServerCert for PortCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .map(str::to_ascii_lowercase)
            .unwrap_or_default();
        let listener = self.listeners.matching(&name).next()?;
        listener
            .by_name
            .matching(&name)
            .next()
            .or(listener.default.as_ref())
            .cloned()
    }
}

fn listener_certificates(
    names: &[PartName],
    keys: &BTreeMap<PartName, UsableKey>,
) -> ListenerCertificates {
    let mut by_name = BTreeMap::new();
    let certificates = names.iter().filter_map(|name| keys.get(name));
    for usable in certificates.clone() {
        for name in &usable.dns_names {
            by_name
                .entry(name.clone())
                .or_insert_with(|| usable.key.clone());
        }
    }
    let default = { certificates }.next().map(|usable| usable.key.clone());
    ListenerCertificates {
        by_name: HostMap::new(by_name),
        default,
    }
}

fn mixed(listener: &Listener) -> Problem {
    let message = format!(
        "port {} ends TLS for other listeners, so it cannot be plain HTTP",
        listener.bind_port
    );
    problem(listener, message)
}

fn problem(listener: &Listener, message: String) -> Problem {
    Problem {
        part: PartKey::new(PartKind::Listener, listener.name.clone()),
        message,
    }
}
