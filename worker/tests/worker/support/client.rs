//! Clients: one request each, or a kept connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub type Answer = Response<Bytes>;

/// GET of `http://host/path` at an address.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    send(
        address,
        request("GET", host, path).body(Full::default()).unwrap(),
    )
    .await
}

pub fn request(method: &str, host: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
}

/// Sends a request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let mut kept = Kept::open(address).await;
    kept.send(request).await.unwrap()
}

/// A kept HTTP/1.1 connection.
pub struct Kept {
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Kept {
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap()
    }

    pub async fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn(connection);
        Ok(Self { sender })
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(
            parts,
            body.collect().await?.to_bytes(),
        ))
    }
}

/// A connection by HTTP/2 with prior knowledge; clones share it.
#[derive(Clone)]
pub struct Multiplexed {
    sender: http2::SendRequest<BoxBody<Bytes, std::convert::Infallible>>,
    address: SocketAddr,
}

/// What a gRPC client got.
#[derive(Debug)]
pub struct GrpcAnswer {
    pub headers: http::HeaderMap,
    pub body: Bytes,
    /// From the trailers, or from the head where the answer is trailers alone.
    pub status: String,
    pub message: String,
}

impl Multiplexed {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.unwrap();
        tokio::task::spawn(connection);
        Self { sender, address }
    }

    /// A gRPC request without a body yet.
    pub fn grpc(&self, path: &str) -> http::request::Builder {
        Request::builder()
            .method("POST")
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    }

    pub async fn send<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Sync + 'static,
    {
        let request = request.map(BoxBody::new);
        self.sender.clone().send_request(request).await.unwrap()
    }

    /// A whole call with one message.
    pub async fn call(&self, request: http::request::Builder, message: &[u8]) -> GrpcAnswer {
        let body = Full::new(Bytes::copy_from_slice(message));
        let response = self.send(request.body(body).unwrap()).await;
        GrpcAnswer::read(response).await
    }
}

impl GrpcAnswer {
    /// Reads an answer to its end; HTTP's status must be 200.
    pub async fn read(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let end = body.trailers().unwrap_or(&parts.headers);
        let text = |name| {
            let value = end.get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        Self {
            status: text("grpc-status"),
            message: text("grpc-message"),
            headers: parts.headers.clone(),
            body: body.to_bytes(),
        }
    }
}

/// Sends a request over HTTP/2 with prior knowledge.
pub async fn send_h2(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::task::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// Sends bytes as they are and returns everything that comes back until the connection is closed.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
