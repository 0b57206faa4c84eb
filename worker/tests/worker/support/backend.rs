//! Backends that say what they got.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A backend that answers with its name and keeps what it got.
#[derive(Clone)]
pub struct Echo {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as a backend saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub host: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    pub trailers: http::HeaderMap,
}

impl Echo {
    pub async fn start(name: &str) -> Self {
        Self::start_slow(name, Duration::ZERO).await
    }

    /// Answers after a pause.
    pub async fn start_slow(name: &str, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = Self {
            address,
            seen: Arc::default(),
        };
        let (name, serving) = (name.to_owned(), echo.clone());
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (name, echo) = (name.clone(), serving.clone());
                let service =
                    service_fn(move |request| echo.clone().answer(name.clone(), pause, request));
                tokio::task::spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        echo
    }

    async fn answer(
        self,
        name: String,
        pause: Duration,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap_or_default();
        let version = parts.version;
        let seen = Seen::new(parts, body);
        let body = seen.body.clone();
        self.seen.lock().unwrap().push(seen);
        tokio::time::sleep(pause).await;
        let response = Response::builder()
            .header("x-backend", &name)
            .header("x-backend-version", format!("{version:?}"))
            .body(Full::new(if body.is_empty() { name.into() } else { body }));
        Ok(response.unwrap())
    }

    pub fn last(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("the backend got a request")
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Seen {
    pub fn new(parts: http::request::Parts, body: Collected<Bytes>) -> Self {
        let host = parts.headers.get("host");
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
        let uri = parts.uri.path_and_query().map(ToString::to_string);
        Self {
            method: parts.method.to_string(),
            uri: uri.unwrap_or_default(),
            host: host.unwrap_or_default().to_owned(),
            headers: parts.headers,
            trailers: body.trailers().cloned().unwrap_or_default(),
            body: body.to_bytes(),
        }
    }
}

/// An address that refuses connections.
pub async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
