//! Relays between real sockets of the loopback interface.

use std::io;
use std::time::Duration;

use tidegate_runtime::backoff::SplitMix64;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, LocalSet};

use super::*;

const PATIENT: Patience = Patience {
    idle: Duration::from_secs(600),
    half_closed: Duration::from_secs(600),
};

/// A relay with both of its peers.
struct Between {
    client: TcpStream,
    backend: TcpStream,
    relay: JoinHandle<(End, Passed)>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn between(patience: Patience, pipes_max: usize) -> Between {
    let (client, client_side) = pair().await;
    let (backend_side, backend) = pair().await;
    let sides = (Io::Left(client_side), Io::Left(backend_side));
    let pools = Rc::new(Pools::new(pipes_max));
    let relay = Relay::new(sides.0, sides.1, patience, pools);
    let relay = tokio::task::spawn_local(async move {
        let mut all = Passed::default();
        let end = relay.run(|passed| {
            all.to_backend += passed.to_backend;
            all.to_client += passed.to_client;
        });
        (end.await, all)
    });
    Between {
        client,
        backend,
        relay,
    }
}

async fn local<F: Future<Output = ()>>(test: F) {
    LocalSet::new().run_until(test).await;
}

/// Writes so many bytes in random pieces with random pauses, and ends.
async fn write(mut to: impl tokio::io::AsyncWrite + Unpin, data: &[u8], seed: u64) {
    let mut random = SplitMix64::seeded(seed);
    let mut rest = data;
    while !rest.is_empty() {
        let len = 1 + random.next_u64() as usize % 100_000;
        let (piece, after) = rest.split_at(len.min(rest.len()));
        to.write_all(piece).await.unwrap();
        rest = after;
        if random.next_u64().is_multiple_of(4) {
            tokio::time::sleep(Duration::from_micros(random.next_u64() % 500)).await;
        }
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end in random pieces with random pauses.
async fn read(mut from: impl tokio::io::AsyncRead + Unpin, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::seeded(seed);
    let mut all = Vec::new();
    let mut piece = vec![0; 200_000];
    loop {
        let most = 1 + random.next_u64() as usize % piece.len();
        match from.read(&mut piece[..most]).await.unwrap() {
            0 => return all,
            len => all.extend_from_slice(&piece[..len]),
        }
        if random.next_u64().is_multiple_of(4) {
            tokio::time::sleep(Duration::from_micros(random.next_u64() % 500)).await;
        }
    }
}

fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::seeded(seed);
    let numbers = (0..len.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
    numbers.take(len).collect()
}

#[tokio::test]
async fn bytes_of_both_sides_arrive_as_they_were_sent_whatever_the_schedule() {
    local(async {
        for seed in 0..12 {
            let pipes_max = if seed % 3 == 0 { 0 } else { 2 };
            let between = between(PATIENT, pipes_max).await;
            let mut random = SplitMix64::seeded(1000 + seed);
            let mut len =
                || random.next_u64() as usize % [100, 70_000, 3_000_000][seed as usize % 3];
            let (sent, answered) = (data(len(), seed), data(len(), !seed));
            let (from_client, to_client) = between.client.into_split();
            let (from_backend, to_backend) = between.backend.into_split();
            let (.., got, back) = tokio::join!(
                write(to_client, &sent, seed),
                write(to_backend, &answered, seed + 50),
                read(from_backend, seed + 100),
                read(from_client, seed + 150),
            );
            assert!(got == sent && back == answered, "seed {seed}");
            let passed = Passed {
                to_backend: sent.len() as u64,
                to_client: answered.len() as u64,
            };
            assert_eq!(between.relay.await.unwrap(), (End::Closed, passed));
        }
    })
    .await;
}

#[tokio::test]
async fn either_side_may_end_first_and_still_hear_the_other() {
    local(async {
        for client_first in [true, false] {
            let Between {
                client,
                backend,
                relay,
            } = between(PATIENT, 1).await;
            let (mut first, mut second) = if client_first {
                (client, backend)
            } else {
                (backend, client)
            };
            first.write_all(b"last words").await.unwrap();
            first.shutdown().await.unwrap();
            let mut got = Vec::new();
            second.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"last words");
            second.write_all(b"an answer").await.unwrap();
            drop(second);
            let mut got = Vec::new();
            first.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"an answer");
            assert_eq!(relay.await.unwrap().0, End::Closed);
        }
    })
    .await;
}

#[tokio::test]
async fn a_side_that_is_gone_before_it_can_be_told_of_the_end_is_no_failure() {
    local(async {
        let mut between = between(PATIENT, 1).await;
        drop(between.backend);
        assert_eq!(between.client.read(&mut [0]).await.unwrap(), 0);
        // The kernel answers it with a reset, since nobody is there.
        between.client.write_all(b"good bye").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        between.client.shutdown().await.unwrap();
        assert_eq!(between.relay.await.unwrap().0, End::Closed);
    })
    .await;
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    local(async {
        for client_resets in [true, false] {
            let Between {
                client,
                backend,
                relay,
            } = between(PATIENT, 1).await;
            let (resetting, mut other) = if client_resets {
                (client, backend)
            } else {
                (backend, client)
            };
            reset(&Io::Left(resetting));
            let read = other.read(&mut [0]).await;
            let kind = read.expect_err("it is no ordinary end").kind();
            assert_eq!(kind, io::ErrorKind::ConnectionReset);
            let ended = if client_resets {
                End::ClientReset
            } else {
                End::BackendReset
            };
            assert_eq!(relay.await.unwrap().0, ended);
        }
    })
    .await;
}

#[tokio::test]
async fn a_side_that_does_not_read_holds_the_other_back() {
    local(async {
        for pipes_max in [0, 1] {
            let mut between = between(PATIENT, pipes_max).await;
            let piece = vec![7; 1 << 20];
            let mut sent = 0;
            // The kernel's buffers and one of ours, and then no more.
            while let Ok(written) =
                tokio::time::timeout(Duration::from_millis(300), between.client.write(&piece)).await
            {
                sent += written.unwrap();
                assert!(sent < 64 << 20, "nobody holds the client back");
            }
            between.client.shutdown().await.unwrap();
            let got = read(&mut between.backend, 1).await;
            assert_eq!(got.len(), sent);
        }
    })
    .await;
}

#[tokio::test]
async fn a_relay_without_bytes_ends_and_both_sides_are_told() {
    local(async {
        let patience = Patience {
            idle: Duration::from_millis(100),
            ..PATIENT
        };
        let mut between = between(patience, 1).await;
        assert_eq!(between.relay.await.unwrap().0, End::Idle);
        for side in [&mut between.client, &mut between.backend] {
            let kind = side.read(&mut [0]).await.expect_err("it is over").kind();
            assert_eq!(kind, io::ErrorKind::ConnectionReset);
        }
    })
    .await;
}

#[tokio::test]
async fn a_half_closed_relay_without_bytes_ends_sooner() {
    local(async {
        let patience = Patience {
            half_closed: Duration::from_millis(100),
            ..PATIENT
        };
        let mut between = between(patience, 1).await;
        between.client.shutdown().await.unwrap();
        assert_eq!(between.backend.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(between.relay.await.unwrap().0, End::Idle);
    })
    .await;
}
