//! TLS that ends at the worker: name to listener, listener to certificate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_ir::{
    Certificate, Digest, EncodedPart, Hostname, Listener, ListenerProtocol, PartKey, PartKind,
    PartName, Snapshot,
};
use tidegate_router::{HostMap, Problem};

/// Makes the TLS side of ports; keeps what outlives a snapshot, so that sessions resume across them.
#[derive(Debug)]
pub(crate) struct TlsBuilder {
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
}

/// The TLS side of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct TlsPorts {
    configs: HashMap<u16, Arc<ServerConfig>>,
    keys: BTreeMap<PartName, UsableKey>,
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
        let mut ports: BTreeMap<u16, BTreeMap<Hostname, ListenerCertificates>> = BTreeMap::new();
        for listener in snapshot.listeners() {
            let ListenerProtocol::Https { certificates, .. } = &listener.protocol else {
                continue;
            };
            let port = ports.entry(listener.bind_port).or_default();
            port.insert(
                listener.hostname.clone(),
                listener_certificates(certificates, &keys),
            );
        }
        for listener in snapshot.listeners() {
            if listener.protocol == ListenerProtocol::Http
                && ports.contains_key(&listener.bind_port)
            {
                problems.push(mixed(listener));
            }
        }
        let configs = ports
            .into_iter()
            .map(|(port, listeners)| (port, self.config(listeners)));
        TlsPorts {
            configs: configs.collect(),
            keys,
        }
    }

    fn config(&self, listeners: BTreeMap<Hostname, ListenerCertificates>) -> Arc<ServerConfig> {
        let certificates = PortCertificates {
            listeners: HostMap::new(listeners),
        };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = self.ticketer.clone();
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
    /// How TLS ends on a port, `None` where it is plain.
    pub(crate) fn config(&self, bind_port: u16) -> Option<&Arc<ServerConfig>> {
        self.configs.get(&bind_port)
    }
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
    Problem {
        part: PartKey::new(PartKind::Listener, listener.name.clone()),
        message: format!(
            "port {} ends TLS for other listeners, so it cannot be plain HTTP",
            listener.bind_port
        ),
    }
}
