//! Backends: pods that listen on the loopback interface and keep what reached them.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::server::WebPkiClientVerifier;
use serde_json::Value;
use tidegate_runtime::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::case::{BackendSpec, BackendTlsSpec};
use crate::certificates::Certificates;
use crate::echo::{Echo, TlsSeen};

/// No datagram of a case is longer.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 4 << 10;

/// A Service's pods.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Namespace of the Service.
    pub(crate) namespace: String,
    /// Name of the Service.
    pub(crate) name: String,
    /// What the case says about it.
    pub(crate) spec: BackendSpec,
    /// In the order of the case.
    pub(crate) pods: Vec<Pod>,
    /// Turns true when what is held may be answered.
    released: watch::Receiver<bool>,
    /// All that reached any pod.
    pub(crate) log: Log,
}

/// A pod's ports on the loopback interface.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Its name.
    pub(crate) name: String,
    /// HTTP/1.1, HTTP/2 with prior knowledge, and WebSocket.
    pub(crate) port: u16,
    /// The same over TLS; 0 without.
    pub(crate) tls_port: u16,
    /// Datagrams.
    pub(crate) udp_port: u16,
}

/// The requests that reached a Service, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Value>>>);

impl Log {
    /// Adds one; gives the number of those before it with the same exchange.
    pub(crate) fn add(&self, request: &Value) -> usize {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let exchange = &request["headers"][crate::echo::EXCHANGE];
        let before = log
            .iter()
            .filter(|earlier| earlier["headers"][crate::echo::EXCHANGE] == *exchange);
        let before = before.count();
        log.push(request.clone());
        before
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Those from a place on, that belong to an exchange or to none.
    pub(crate) fn since(&self, place: usize, exchange: &str) -> Vec<Value> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let belongs = |request: &&Value| {
            let of = request["headers"][crate::echo::EXCHANGE].as_str();
            of.is_none_or(|of| of == exchange)
        };
        log.iter().skip(place).filter(belongs).cloned().collect()
    }
}

impl Backend {
    /// Starts the pods of a Service that is named as `namespace/name`.
    pub(crate) async fn start(
        name: &str,
        spec: BackendSpec,
        certificates: &Arc<Certificates>,
        tasks: &Tasks,
        released: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let (namespace, name) = name
            .split_once('/')
            .context("a backend is named as namespace/name")?;
        let mut backend = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pods: Vec::new(),
            log: Log::default(),
            released: released.clone(),
            spec,
        };
        for index in 0..backend.spec.pods.len() {
            let pod = backend.start_pod(index, certificates, tasks).await?;
            backend.pods.push(pod);
        }
        Ok(backend)
    }

    async fn start_pod(
        &self,
        index: usize,
        certificates: &Arc<Certificates>,
        tasks: &Tasks,
    ) -> anyhow::Result<Pod> {
        let pod = &self.spec.pods[index];
        let name = format!("{}-{index}", self.name);
        let echo = Echo {
            namespace: self.namespace.clone(),
            service: self.name.clone(),
            pod: name.clone(),
            answers: pod.answers,
            authorizer: self.spec.authorizer,
            released: self.released.clone(),
            log: self.log.clone(),
            tasks: tasks.clone(),
        };
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = plain.local_addr()?.port();
        let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let udp_port = datagrams.local_addr()?.port();
        let mut tls_port = 0;
        if !pod.refuses {
            if let Some(spec) = &self.spec.tls {
                let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                tls_port = tls.local_addr()?.port();
                let acceptor = acceptor(spec, certificates)?;
                let serving = serve_tls(tls, acceptor, echo.clone(), certificates.clone());
                tasks.spawn("TLS backend", serving);
            }
            tasks.spawn("UDP backend", serve_udp(datagrams, echo.clone()));
            tasks.spawn("backend", serve(plain, echo));
        }
        Ok(Pod {
            name,
            port,
            tls_port,
            udp_port,
        })
    }
}

fn acceptor(spec: &BackendTlsSpec, certificates: &Certificates) -> anyhow::Result<TlsAcceptor> {
    let builder = rustls::ServerConfig::builder();
    let builder = match &spec.clients {
        Some(authority) => {
            let roots = certificates.roots(Some(authority))?;
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots).build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = certificates.identity(&spec.certificate)?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, echo: Echo) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = serve_connection(stream, echo.clone(), None);
        echo.tasks.spawn("backend connection", connection);
    }
}

async fn serve_udp(socket: UdpSocket, echo: Echo) {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        // An error is about a client of before that is gone.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = echo.datagram(&buffer[..len]);
        let _ = socket.send_to(&answer, from).await;
    }
}

async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    echo: Echo,
    certificates: Arc<Certificates>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            serve_tls_connection(stream, acceptor.clone(), echo.clone(), certificates.clone());
        echo.tasks.spawn("TLS backend connection", connection);
    }
}

async fn serve_tls_connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    echo: Echo,
    certificates: Arc<Certificates>,
) {
    // A gateway that does not trust the certificate, or shows a wrong one, is what some cases want.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let (_, session) = stream.get_ref();
    let client = session.peer_certificates().and_then(<[_]>::first);
    let name = client.map(|shown| certificates.name_of(shown).unwrap_or("unknown"));
    let seen = TlsSeen {
        sni: session.server_name().map(str::to_owned),
        client: name.map(str::to_owned),
    };
    serve_connection(stream, echo, Some(Arc::new(seen))).await;
}

async fn serve_connection<S>(stream: S, echo: Echo, tls: Option<Arc<TlsSeen>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| echo.clone().answer(request, tls.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    // A connection that the gateway cuts is its affair; the cases look at what came of the request.
    let _ = serving.await;
}
