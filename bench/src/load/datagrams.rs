//! UDP: flows that each have some datagrams on the way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Done;

/// Bytes of a datagram.
const BYTES: usize = 200;

/// After that long without an answer its datagrams are lost, and sent again.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// Runs so many flows, each with `window` datagrams on the way, for so long.
pub(crate) async fn run(
    address: SocketAddr,
    flows: u32,
    window: u32,
    seconds: u32,
) -> anyhow::Result<Done> {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut tasks = JoinSet::new();
    for _ in 0..flows {
        tasks.spawn(flow(address, window, end));
    }
    let mut count = 0;
    while let Some(answered) = tasks.join_next().await {
        count += answered??;
    }
    ensure!(count > 0, "no datagram came back");
    Ok(Done { count, bytes: 0 })
}

async fn flow(address: SocketAddr, window: u32, end: Instant) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(address).await?;
    let (message, mut buffer) = ([b'x'; BYTES], [0; 2 * BYTES]);
    let mut answered = 0;
    for _ in 0..window {
        socket.send(&message).await?;
    }
    while Instant::now() < end {
        match timeout(LOST_AFTER, socket.recv(&mut buffer)).await {
            Ok(received) => {
                ensure!(received? == BYTES, "a datagram came back changed");
                answered += 1;
                socket.send(&message).await?;
            }
            Err(_) => {
                for _ in 0..window {
                    socket.send(&message).await?;
                }
            }
        }
    }
    Ok(answered)
}
