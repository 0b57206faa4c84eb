//! Memory of the peers: without work, and for each connection that waits for its next request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::backend::Backends;
use crate::certificates::{Certificates, HOST};
use crate::cpu::listens;
use crate::peers::{Peer, Running, Site};
use crate::process;

/// Time after the last request before memory is read.
const REST: Duration = Duration::from_secs(12);

/// What each connection asks for before it waits.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: www.bench.test\r\n\r\n";

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Proxies that are measured
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nginx,haproxy,envoy,tidegate"
    )]
    peers: Vec<Peer>,
    /// Connections that wait
    #[arg(long, default_value_t = 3000)]
    connections: u32,
}

/// Prints a row for each peer.
pub(crate) async fn run(tidegate: &Path, options: &Options) -> anyhow::Result<()> {
    process::pin_this(1);
    let dir = tempfile::tempdir()?;
    let certificates = Certificates::new(dir.path())?;
    let site = Site {
        dir: dir.path(),
        backends: Backends::start(&certificates.ecdsa)?,
        certificates: &certificates,
    };
    let tls = certificates.ecdsa.client(false)?;
    println!("peer        idle_pss_mib  plain_kib_per_connection  tls_kib_per_connection");
    for peer in &options.peers {
        let running = peer.start(site, tidegate, std::iter::empty()).await?;
        listens(&running).await?;
        tokio::time::sleep(REST).await;
        let idle = running.pss_kib()?;
        let plain = each(&running, None, options.connections).await?;
        let secure = each(&running, Some(&tls), options.connections).await?;
        println!(
            "{:10}  {:12.1}  {plain:24.2}  {secure:22.2}",
            peer.name(),
            idle as f64 / 1024.0
        );
    }
    Ok(())
}

/// KiB that a waiting connection costs.
async fn each(peer: &Running, tls: Option<&Arc<ClientConfig>>, count: u32) -> anyhow::Result<f64> {
    let before = peer.pss_kib()?;
    let mut open: Vec<Box<dyn Stream>> = vec![];
    for _ in 0..count {
        let stream = match tls {
            None => Box::new(TcpStream::connect(peer.ports.http).await?) as Box<dyn Stream>,
            Some(config) => {
                let stream = TcpStream::connect(peer.ports.https).await?;
                let connector = TlsConnector::from(config.clone());
                Box::new(
                    connector
                        .connect(ServerName::try_from(HOST)?, stream)
                        .await?,
                )
            }
        };
        open.push(stream);
    }
    let mut answer = [0; 4 << 10];
    for stream in &mut open {
        stream.write_all(REQUEST).await?;
        let mut len = 0;
        // A head of a few hundred bytes and a body of 1 KiB.
        while len < 1 << 10 {
            len += stream.read(&mut answer[len..]).await?;
        }
        anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "no 200");
    }
    tokio::time::sleep(REST).await;
    let after = peer.pss_kib()?;
    drop(open);
    tokio::time::sleep(REST).await;
    Ok((after as f64 - before as f64) / f64::from(count))
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}
