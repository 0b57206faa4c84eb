//! Backends that answer as a test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::backend::Seen;

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// A backend with a script; clones share it.
#[derive(Clone)]
pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
}

/// What a script says about one request.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub pause: Duration,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Scripted {
    /// The script gets each request with its number, from 0.
    pub async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scripted = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            script: Arc::new(script),
        };
        let serving = scripted.clone();
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let scripted = serving.clone();
                let service = service_fn(move |request| scripted.clone().answer(request));
                tokio::task::spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        scripted
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap_or_default();
        let seen = Seen::new(parts, body);
        let reply = {
            let mut all = self.seen.lock().unwrap();
            let reply = (self.script)(&seen, all.len());
            all.push(seen);
            reply
        };
        tokio::time::sleep(reply.pause).await;
        let data = (!reply.body.is_empty()).then(|| Frame::data(reply.body));
        let frames = data.into_iter().chain(reply.trailers.map(Frame::trailers));
        let frames: Vec<_> = frames.map(Ok).collect();
        let mut response = Response::new(StreamBody::new(stream::iter(frames)));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        Ok(response)
    }

    pub fn last(&self) -> Seen {
        let seen = self.seen.lock().unwrap();
        seen.last().cloned().expect("the backend got a request")
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn after(mut self, ms: u64) -> Self {
        self.pause = Duration::from_millis(ms);
        self
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.trailers
            .get_or_insert_default()
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }
}
