//! A client of the gateway: one connection, TLS where the URL says so, one request after the other;
//! or one UDP socket, one datagram after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tidegate_runtime::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;

use crate::backend::DATAGRAM_BYTES_MAX;
use crate::case::{Exchange, Over};
use crate::certificates::Certificates;
use crate::echo::{Body, full};
use crate::{grpc, websocket};

/// Where and how a client connects.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// Where the listener is.
    pub(crate) address: SocketAddr,
    /// The URL of the requests.
    pub(crate) uri: &'a Uri,
    /// What the case says.
    pub(crate) exchange: &'a Exchange,
    /// What the client trusts and shows.
    pub(crate) certificates: &'a Certificates,
    /// What the connection runs in.
    pub(crate) tasks: &'a Tasks,
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Connection {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Body>),
    /// HTTP/2.
    Http2(http2::SendRequest<Body>),
    /// UDP.
    Udp(UdpSocket),
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status; 0 of a datagram.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, the last gRPC message, the greeting of a WebSocket, or the datagram.
    pub(crate) body: Bytes,
    /// The gRPC status.
    pub(crate) grpc: Option<u16>,
}

impl Answer {
    /// What a pod says that it saw, if a pod answered.
    pub(crate) fn echo(&self) -> Option<Value> {
        let echo: Value = serde_json::from_slice(&self.body).ok()?;
        echo["pod"].is_string().then_some(echo)
    }
}

impl Target<'_> {
    /// Connects; for UDP, takes a port of its own.
    ///
    /// # Errors
    /// When the port is closed, or the handshake fails.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        if self.exchange.over == Over::Udp {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            socket.connect(self.address).await?;
            return Ok(Connection::Udp(socket));
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.uri.scheme_str() != Some("https") {
            return self.speak(stream).await;
        }
        let host = self.exchange.sni.as_deref();
        let host = host
            .or_else(|| self.uri.host())
            .context("the URL has a host")?;
        let name = ServerName::try_from(host.to_owned())?;
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        let stream = connector.connect(name, stream).await?;
        self.speak(stream).await
    }

    fn tls(&self) -> anyhow::Result<rustls::ClientConfig> {
        let roots = self.certificates.roots(self.exchange.trust.as_deref())?;
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let mut config = match &self.exchange.certificate {
            Some(name) => {
                let (chain, key) = self.certificates.identity(name)?;
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        let protocol: &[u8] = if self.exchange.over.is_http2() {
            b"h2"
        } else {
            b"http/1.1"
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }

    async fn speak<S>(&self, stream: S) -> anyhow::Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        if self.exchange.over.is_http2() {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            self.tasks.spawn("HTTP/2 client", connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        self.tasks
            .spawn("HTTP/1 client", connection.with_upgrades());
        Ok(Connection::Http1(sender))
    }

    /// Sends one request with the headers and what the exchange says.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub(crate) async fn send(
        &self,
        connection: &mut Connection,
        headers: &[(String, String)],
    ) -> anyhow::Result<Answer> {
        match self.exchange.over {
            Over::Grpc => self.call(connection, self.request(headers)?).await,
            Over::Websocket => self.open(connection, self.request(headers)?).await,
            Over::WebsocketHttp2 => self.open_stream(connection, self.request(headers)?).await,
            Over::Http1 | Over::Http2 => {
                let mut request = self.request(headers)?;
                *request.body_mut() = full(self.exchange.body.clone());
                let response = connection.exchange(request).await?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await?;
                Ok(Answer::new(parts, body.to_bytes(), None))
            }
            Over::Udp => connection.datagram(self.exchange.body.as_bytes()).await,
        }
    }

    fn request(&self, headers: &[(String, String)]) -> anyhow::Result<Request<Body>> {
        let (method, _) = self.exchange.send.split_once(' ').unwrap_or_default();
        let authority = self.uri.authority().context("the URL has a host")?;
        let mut request = Request::builder().method(method).body(full(""))?;
        if self.exchange.over.is_http2() {
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = self.uri.clone();
        } else {
            let path = self.uri.path_and_query().context("the URL has a path")?;
            *request.uri_mut() = Uri::from(path.clone());
            let host = HeaderValue::from_str(authority.as_str())?;
            request.headers_mut().insert(HOST, host);
        }
        for (name, value) in headers {
            let name: HeaderName = name.parse()?;
            request.headers_mut().append(name, value.parse()?);
        }
        Ok(request)
    }

    async fn call(
        &self,
        connection: &mut Connection,
        request: Request<Body>,
    ) -> anyhow::Result<Answer> {
        let (requests, body) = mpsc::channel(1);
        let body = StreamBody::new(ReceiverStream::new(body)).boxed_unsync();
        let mut request = request.map(|_| body);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        let first = Frame::data(grpc::frame(self.exchange.body.as_bytes()));
        requests.send(Ok(first)).await?;
        let response = connection.exchange(request).await?;
        let mut head = Response::new(()).into_parts().0;
        head.status = response.status();
        head.headers = response.headers().clone();
        if head.status != 200
            || !head.headers[CONTENT_TYPE]
                .as_bytes()
                .starts_with(b"application/grpc")
        {
            bail!("this is no answer to a gRPC call: {head:?}");
        }
        let Exchange { body, messages, .. } = self.exchange;
        let call = grpc::converse(response, requests, body, *messages).await?;
        Ok(Answer::new(head, call.message, Some(call.code)))
    }

    async fn open(
        &self,
        connection: &mut Connection,
        mut request: Request<Body>,
    ) -> anyhow::Result<Answer> {
        for (name, value) in websocket::handshake() {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let mut response = connection.exchange(request).await?;
        if response.status() != 101 {
            let (parts, body) = response.into_parts();
            return Ok(Answer::new(parts, body.collect().await?.to_bytes(), None));
        }
        let upgraded = hyper::upgrade::on(&mut response).await?;
        let (parts, _) = response.into_parts();
        let messages = self.exchange.messages;
        websocket::check(&parts.headers)?;
        let greeting = websocket::converse(upgraded, messages).await?;
        Ok(Answer::new(parts, greeting.into(), None))
    }

    async fn open_stream(
        &self,
        connection: &mut Connection,
        mut request: Request<Body>,
    ) -> anyhow::Result<Answer> {
        *request.method_mut() = Method::CONNECT;
        let websocket = Protocol::from_static("websocket");
        request.extensions_mut().insert(websocket);
        let version = HeaderValue::from_static("13");
        request
            .headers_mut()
            .insert("sec-websocket-version", version);
        let mut response = connection.exchange(request).await?;
        if response.status() != 200 {
            let (parts, body) = response.into_parts();
            return Ok(Answer::new(parts, body.collect().await?.to_bytes(), None));
        }
        let upgraded = hyper::upgrade::on(&mut response).await?;
        let (parts, _) = response.into_parts();
        let greeting = websocket::converse(upgraded, self.exchange.messages).await?;
        Ok(Answer::new(parts, greeting.into(), None))
    }
}

impl Connection {
    /// Whether another request can be sent.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
            Self::Udp(_) => true,
        }
    }

    async fn exchange(&mut self, request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        Ok(match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Udp(_) => bail!("HTTP needs a connection"),
        })
    }

    async fn datagram(&self, bytes: &[u8]) -> anyhow::Result<Answer> {
        let Self::Udp(socket) = self else {
            bail!("a datagram needs a UDP socket");
        };
        socket.send(bytes).await?;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let len = socket.recv(&mut buffer).await?;
        Ok(Answer {
            status: 0,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(&buffer[..len]),
            grpc: None,
        })
    }
}

impl Answer {
    fn new(head: http::response::Parts, body: Bytes, grpc: Option<u16>) -> Self {
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            grpc,
        }
    }
}

impl Over {
    fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::WebsocketHttp2)
    }
}
