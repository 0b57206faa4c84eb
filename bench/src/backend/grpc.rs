//! gRPC in plain text: a unary call is answered by the message that came.

use bytes::BytesMut;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::serve_each;

pub(super) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    serve_each(listener, answer).await
}

async fn answer(stream: TcpStream) -> anyhow::Result<()> {
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(1_000)
        .handshake(stream)
        .await?;
    let mut calls = tokio::task::JoinSet::new();
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        calls.spawn(call_back(request, respond));
        while calls.try_join_next().is_some() {}
    }
    Ok(())
}

async fn call_back(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<bytes::Bytes>,
) -> anyhow::Result<()> {
    let mut body = request.into_body();
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        message.extend_from_slice(&data);
    }
    let head = Response::builder().header("content-type", "application/grpc");
    let mut stream = respond.send_response(head.body(())?, false)?;
    stream.send_data(message.freeze(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)?;
    Ok(())
}
