//! HTTP/2 backends: answers that break off, hints before them, and how many streams they allow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use tidegate_ir::BackendProtocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, oneshot};

use crate::support::Running;
use crate::support::client::Multiplexed;
use crate::support::parts::{backend_of, to};
use crate::support::wire::Wire;

type Server = Connection<TcpStream, Bytes>;

/// How a backend goes on after half of an answer.
#[derive(Debug, Clone, Copy)]
enum End {
    Reset(Reason),
    /// GOAWAY, and the end of the connection.
    Leave(Reason),
    /// The end of the connection, without a word.
    Close,
    /// An ordinary one, and a reset without an error, since the rest of the request is not wanted.
    WholeThenReset,
    /// The same by trailers.
    TrailersThenReset,
}

/// Answers every first request of a connection by half, and then as the test says.
async fn backend_that_ends(end: End) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn(serve(stream, end));
        }
    });
    address
}

async fn serve(stream: TcpStream, end: End) {
    let mut server: Server = h2::server::handshake(stream).await.unwrap();
    let Some(Ok((request, respond))) = server.accept().await else {
        return;
    };
    // The library resets the stream with NO_ERROR where both are dropped after a whole answer.
    let request = request.into_body();
    let (done, is_done) = oneshot::channel();
    tokio::task::spawn(async move {
        let mut answer = begin(respond);
        // What was sent before a reset may be lost with it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        match end {
            End::Reset(reason) => answer.send_reset(reason),
            End::Leave(_) | End::Close => {}
            End::WholeThenReset => answer.send_data(Bytes::from("whole"), true).unwrap(),
            End::TrailersThenReset => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "7".parse().unwrap());
                answer.send_trailers(trailers).unwrap();
            }
        }
        drop(request);
        done.send(()).unwrap();
        if !matches!(end, End::WholeThenReset | End::TrailersThenReset) {
            // Dropping it would be a reset, too.
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        drop(answer);
    });
    tokio::select! {
        _ = server.accept() => return,
        _ = is_done => {}
    }
    match end {
        End::Leave(reason) => {
            server.abrupt_shutdown(reason);
            while server.accept().await.is_some() {}
        }
        End::Close => {}
        _ => while server.accept().await.is_some() {},
    }
}

fn begin(mut respond: SendResponse<Bytes>) -> SendStream<Bytes> {
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    answer.send_data(Bytes::from("half"), false).unwrap();
    answer
}

async fn in_front_of(end: End) -> Running {
    serving(backend_that_ends(end).await).await
}

async fn serving(address: SocketAddr) -> Running {
    let backends = vec![backend_of("a", &[address], BackendProtocol::Http2)];
    Running::serving(vec![to("/", "a")], backends).await
}

const BREAKS: [End; 5] = [
    End::Reset(Reason::NO_ERROR),
    End::Reset(Reason::CANCEL),
    End::Leave(Reason::NO_ERROR),
    End::Leave(Reason::INTERNAL_ERROR),
    End::Close,
];

#[tokio::test]
async fn half_an_answer_never_looks_whole_to_an_http1_client() {
    for end in BREAKS {
        let running = in_front_of(end).await;
        let mut client = Wire::open(&running).await;
        client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let answer = client.read_to_end().await;
        assert!(answer.contains("half\r\n"), "{end:?}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{end:?}: {answer}");
        running
            .wait_for_metric("reason=\"response_broken_off\"")
            .await;
    }
}

#[tokio::test]
async fn half_an_answer_never_looks_whole_to_an_http2_client() {
    for end in BREAKS {
        let running = in_front_of(end).await;
        let client = Multiplexed::open(running.address("http")).await;
        let asked = Request::get(format!("http://{}/", running.address("http")));
        let answer = client.send(asked.body(Empty::new()).unwrap()).await;
        assert_eq!(answer.status(), 200, "{end:?}");
        let body = answer.into_body().collect().await;
        assert!(body.is_err(), "{end:?}: {body:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_stays_whole_when_the_rest_of_its_request_is_not_wanted() {
    for (end, wanted) in [
        (End::WholeThenReset, "halfwhole"),
        (End::TrailersThenReset, "half"),
    ] {
        let running = in_front_of(end).await;
        let client = Multiplexed::open(running.address("http")).await;
        let asked = Request::post(format!("http://{}/", running.address("http")));
        let never_ends = StreamBody::new(futures_util::stream::pending());
        let answer = client.send(asked.body(never_ends).unwrap()).await;
        let body = answer.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        assert_eq!(body.to_bytes(), wanted, "{end:?}");
        let has_trailers = matches!(end, End::TrailersThenReset);
        assert_eq!(trailers.contains_key("x-sum"), has_trailers, "{end:?}");
    }
}

/// Allows one stream at a time, and answers all but the first request only when another is there, too.
async fn backend_of_single_streams() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let both = Arc::new(Barrier::new(2));
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let both = both.clone();
            tokio::task::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let handshake = builder.max_concurrent_streams(1).handshake(stream);
                let mut server: Server = handshake.await.unwrap();
                while let Some(Ok((request, mut respond))) = server.accept().await {
                    let both = both.clone();
                    tokio::task::spawn(async move {
                        if request.uri().path() != "/first" {
                            both.wait().await;
                        }
                        respond.send_response(Response::new(()), true).unwrap();
                    });
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_is_more_than_a_connection_allows_goes_by_another_one() {
    let running = serving(backend_of_single_streams().await).await;
    let client = Multiplexed::open(running.address("http")).await;
    let ask = async |path: &str| {
        let asked = Request::get(format!("http://{}{path}", running.address("http")));
        client.send(asked.body(Empty::new()).unwrap()).await
    };
    assert_eq!(ask("/first").await.status(), 200);
    let (one, other) = tokio::join!(ask("/one"), ask("/other"));
    assert_eq!([one.status(), other.status()], [200, 200]);
}

async fn hint_and_answer(stream: TcpStream) {
    let mut server: Server = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = server.accept().await {
        tokio::task::spawn(async move {
            let hints = Response::builder().status(103).header("link", "</a.css>");
            respond.send_informational(hints.body(()).unwrap()).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            respond.send_response(Response::new(()), true).unwrap();
        });
    }
}

#[tokio::test]
async fn hints_of_an_http2_backend_reach_the_client_before_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = serving(listener.local_addr().unwrap()).await;
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn(hint_and_answer(stream));
        }
    });
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let hints = client.read_until("\r\n\r\n").await;
    let wanted = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    assert_eq!(hints, wanted);
    let answer = client.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
