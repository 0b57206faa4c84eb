//! WebSockets that end at backends which speak HTTP/2.

use h2::server::SendResponse;
use tokio::net::TcpListener;

use super::*;

/// A stream that a client asks for.
struct Asked {
    head: http::request::Parts,
    from: RecvStream,
    answer: SendResponse<Bytes>,
}

impl Asked {
    /// Answers with this status; what is sent from then on is the tunnel's.
    fn agree(&mut self, status: u16) -> SendStream<Bytes> {
        let head = Response::builder().status(status);
        let head = head.header("sec-websocket-protocol", "chat");
        let head = head.body(()).unwrap();
        self.answer.send_response(head, false).unwrap()
    }
}

/// A backend that hands its streams to the test.
async fn http2_backend(knows_websocket: bool) -> (mpsc::UnboundedReceiver<Asked>, SocketAddr) {
    let (asked, streams) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let mut builder = h2::server::Builder::new();
        if knows_websocket {
            builder.enable_connect_protocol();
        }
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (builder, asked) = (builder.clone(), asked.clone());
            tokio::task::spawn(async move {
                let mut connection = builder.handshake(tcp).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    let (head, from) = request.into_parts();
                    // A test that is over wants no more.
                    let _ = asked.send(Asked { head, from, answer });
                }
            });
        }
    });
    (streams, address)
}

async fn in_front_of_http2(address: SocketAddr) -> Running {
    let backends = vec![backend_of("a", &[address], BackendProtocol::Http2)];
    Running::serving(vec![to("/", "a")], backends).await
}

/// Lets two sides of a tunnel talk, and ends it in good order.
async fn talk(
    (mut from_client, mut to_client): (RecvStream, SendStream<Bytes>),
    (mut from_backend, mut to_backend): (RecvStream, SendStream<Bytes>),
) {
    for number in 0..3 {
        let said = format!("ping {number}.");
        let data = Bytes::from(said.clone());
        to_backend.send_data(data, false).unwrap();
        read_until(&mut from_client, &said).await;
        let said = format!("pong {number}.");
        let data = Bytes::from(said.clone());
        to_client.send_data(data, false).unwrap();
        read_until(&mut from_backend, &said).await;
    }
    to_backend.send_data(Bytes::from("last"), true).unwrap();
    assert_eq!(read_to_end(&mut from_client).await, ("last".into(), None));
    to_client.send_data(Bytes::from("and more"), true).unwrap();
    let read = read_to_end(&mut from_backend).await;
    assert_eq!(read, ("and more".into(), None));
}

/// A client's stream that has become a tunnel, and its stream at the backend.
struct Both {
    running: Running,
    client: SendRequest<Bytes>,
    answer: Response<RecvStream>,
    sending: SendStream<Bytes>,
    backend: Asked,
    to_client: SendStream<Bytes>,
}

async fn opened_to_http2() -> Both {
    let (mut streams, address) = http2_backend(true).await;
    let running = in_front_of_http2(address).await;
    let mut client = client_of(&running).await;
    let agreeing = async {
        let mut asked = streams.recv().await.unwrap();
        let sending = asked.agree(200);
        (asked, sending)
    };
    let ((answer, sending), (backend, to_client)) =
        tokio::join!(ask(&mut client, asked("websocket")), agreeing);
    Both {
        running,
        client,
        answer,
        sending,
        backend,
        to_client,
    }
}

#[tokio::test]
async fn a_stream_reaches_a_stream() {
    let Both {
        running: _running,
        client: _client,
        answer,
        sending,
        backend,
        to_client,
    } = opened_to_http2().await;
    assert_eq!(backend.head.method, "CONNECT");
    assert_eq!(backend.head.uri, "http://h/chat?room=1");
    let protocol = backend.head.extensions.get::<Protocol>().unwrap();
    assert_eq!(protocol.as_str(), "websocket");
    assert_eq!(backend.head.headers["sec-websocket-version"], "13");
    for name in [
        "connection",
        "upgrade",
        "sec-websocket-key",
        "content-length",
    ] {
        assert!(!backend.head.headers.contains_key(name), "{name}");
    }
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    talk((backend.from, to_client), (answer.into_body(), sending)).await;
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An HTTP/1 client whose connection has become a tunnel, and its stream at the backend.
async fn upgraded_to_http2() -> (Running, Wire, Asked, SendStream<Bytes>) {
    let (mut streams, address) = http2_backend(true).await;
    let running = in_front_of_http2(address).await;
    let mut client = Wire::open(&running).await;
    client.write(UPGRADE).await;
    let mut asked = streams.recv().await.unwrap();
    let sending = asked.agree(200);
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The proof of its own key, which the backend has not seen.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    (running, client, asked, sending)
}

#[tokio::test]
async fn a_connection_reaches_a_stream() {
    let (_running, mut client, mut backend, mut sending) = upgraded_to_http2().await;
    client.write("ping").await;
    read_until(&mut backend.from, "ping").await;
    sending.send_data(Bytes::from("pong"), true).unwrap();
    assert_eq!(client.read_to_end().await, "pong");
}

#[tokio::test]
async fn more_than_the_credit_of_a_stream_arrives() {
    let (_running, mut client, mut backend, _sending) = upgraded_to_http2().await;
    let sent = "x".repeat(1 << 20);
    let receiving = async {
        let mut received = 0;
        while received < sent.len() {
            let data = backend.from.data().await.unwrap().unwrap();
            received += data.len();
            let mut flow = backend.from.flow_control().clone();
            flow.release_capacity(data.len()).unwrap();
        }
        received
    };
    let both = async { tokio::join!(client.write(&sent), receiving) };
    let ((), received) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(received, sent.len());
}

#[tokio::test]
async fn a_backend_that_resets_its_stream_resets_its_client() {
    let (_running, mut client, _backend, mut sending) = upgraded_to_http2().await;
    sending.send_reset(Reason::INTERNAL_ERROR);
    let read = tokio::time::timeout(PATIENCE, client.0.read_u8()).await;
    let error = read.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_is_gone_resets_its_stream_at_the_backend() {
    let Both {
        running: _running,
        client,
        answer,
        sending,
        backend: _backend,
        mut to_client,
    } = opened_to_http2().await;
    drop((client, answer, sending));
    let reset = poll_fn(|cx| to_client.poll_reset(cx));
    let reset = tokio::time::timeout(PATIENCE, reset).await.unwrap();
    assert_eq!(reset.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let (mut streams, address) = http2_backend(true).await;
    let running = in_front_of_http2(address).await;
    let mut client = Wire::open(&running).await;
    client.write(UPGRADE).await;
    let mut sending = streams.recv().await.unwrap().agree(403);
    sending.send_data(Bytes::from("sure"), true).unwrap();
    let answer = client.read_until("sure").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn a_backend_that_does_not_know_it_is_not_asked() {
    let (mut streams, address) = http2_backend(false).await;
    let running = in_front_of_http2(address).await;
    let mut client = client_of(&running).await;
    let (answer, _to) = ask(&mut client, asked("websocket")).await;
    assert_eq!(answer.status(), 501);
    let mut client = Wire::open(&running).await;
    client.write(UPGRADE).await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 501 "), "{head}");
    let reason = "reason=\"protocol_unsupported\"";
    running.wait_for_metric(reason).await;
    assert!(streams.try_recv().is_err());
}
