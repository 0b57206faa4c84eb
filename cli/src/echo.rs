//! The built-in backend: answers every request with what it received, as JSON.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Map, Value, json};
use tidegate_runtime::drain::Drain;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Most bytes of a request body that are read; a longer one ends the connection.
const BODY_LEN_MAX: usize = 16 << 20;
/// Most connections at a time and backend; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;

/// One running backend.
#[derive(Debug)]
pub(crate) struct EchoBackend {
    /// Where it listens, on loopback.
    pub(crate) addr: SocketAddr,
}

impl EchoBackend {
    /// Starts a backend that answers as the Service, until the drain ends.
    pub(crate) async fn start(service: &str, drain: &Drain) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let service: Arc<str> = service.into();
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accepting = drain.clone();
        // Outside of the drain's tasks: the worker drains towards this backend, so it goes last.
        let tasks = tidegate_runtime::tasks::Tasks::new();
        let serving = tasks.clone();
        tasks.spawn("echo backend", async move {
            let accept = async {
                loop {
                    let permit = Arc::clone(&connections).acquire_owned().await;
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            let service = Arc::clone(&service);
                            serving.spawn("echo connection", async move {
                                serve(stream, service).await;
                                drop(permit);
                            });
                        }
                        // Out of file descriptors: wait for some to be given back.
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            };
            tokio::select! {
                () = accept => {}
                () = accepting.shut_down() => {}
            }
        });
        Ok(Self { addr })
    }
}

async fn serve(stream: TcpStream, service: Arc<str>) {
    let _ = stream.set_nodelay(true);
    let respond = service_fn(move |request| answer(request, Arc::clone(&service)));
    // A client that goes away is no news.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), respond)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    service: Arc<str>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body_len = match Limited::new(body, BODY_LEN_MAX).collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => BODY_LEN_MAX,
    };
    let host = head
        .headers
        .get(header::HOST)
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
        .or_else(|| head.uri.authority().map(ToString::to_string));
    let answer = json!({
        "service": &*service,
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
        "host": host,
        "headers": headers_json(&head.headers),
        "body_len": body_len,
    });
    let mut text = serde_json::to_vec_pretty(&answer).expect("a JSON value has a text");
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// One text for each name; several values of a name are joined as HTTP allows.
fn headers_json(headers: &HeaderMap) -> Map<String, Value> {
    let join = |name: &header::HeaderName| {
        let values = headers.get_all(name).iter();
        values
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    headers
        .keys()
        .map(|name| (name.to_string(), join(name).join(", ").into()))
        .collect()
}
