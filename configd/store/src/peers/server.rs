//! Listens for other nodes.

use std::time::Duration;

use tidegate_proto::raft::v1::peer_service_server::PeerServiceServer;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::Server;

use super::{Desk, Incoming, MESSAGE_BYTES_MAX};

/// Streams on one connection.
const STREAMS_MAX: u32 = 256;
/// Bytes of a frame, at most: a batch comes in one, and not in many of 16 KiB.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Time for running calls to end when the node stops.
const DRAIN: Duration = Duration::from_secs(2);

/// The running server. Dropping it lets it end by itself.
#[derive(Debug)]
pub(crate) struct PeerServer {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PeerServer {
    /// Serves what comes in from now on.
    pub(crate) fn start(incoming: Incoming, desk: Desk) -> Self {
        let service = PeerServiceServer::new(desk)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let incoming = incoming.into_connections();
        let (end, ended) = oneshot::channel::<()>();
        let server = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .add_service(service);
        // It ends with the store, which waits for it.
        #[allow(
            clippy::disallowed_methods,
            reason = "the store may not use the runtime crate, and waits for the task when it shuts down"
        )]
        let task = tokio::spawn(async move {
            let until = async { drop(ended.await) };
            let served = server.serve_with_incoming_shutdown(incoming, until).await;
            if let Err(error) = served {
                tracing::error!(%error, "the server for other nodes failed");
            }
        });
        Self { end, task }
    }

    /// Stops listening and ends what runs.
    pub(crate) async fn stop(mut self) {
        drop(self.end);
        if tokio::time::timeout(DRAIN, &mut self.task).await.is_err() {
            self.task.abort();
            let _ = self.task.await;
        }
    }
}
