//! The kinds of work, and the load that makes each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use rustls::ClientConfig;

use crate::certificates::Certificates;
use crate::load::h2load::{self, Load};
use crate::load::streams::{self, Target, Use};
use crate::load::{Done, datagrams, wrk};
use crate::peers::{Peer, Ports};

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// HTTP/1.1, kept connections, 1 KiB.
    Http,
    /// The same over TLS.
    Https,
    /// A new TLS connection for each request, ECDSA.
    Handshake,
    /// The same, with sessions resumed.
    Resumed,
    /// A new TLS connection for each request, RSA.
    HandshakeRsa,
    /// HTTP/2 over TLS to HTTP/1.1, 1 KiB.
    H2,
    /// gRPC, 8 connections with 16 streams each.
    Grpc,
    /// gRPC, 64 connections with one stream each.
    GrpcSerial,
    /// 1 MiB by HTTP/1.1.
    Body,
    /// 1 MiB by HTTP/1.1 over TLS.
    BodyTls,
    /// 1 MiB by HTTP/2 over TLS.
    BodyH2,
    /// TCP, 1 KiB there and back.
    Tcp,
    /// TCP, a new connection for each round trip.
    TcpConnect,
    /// TCP, one way.
    TcpBulk,
    /// TLS that ends at the backend, 1 KiB there and back.
    Passthrough,
    /// The same, a new connection for each round trip.
    PassthroughConnect,
    /// UDP, there and back.
    Udp,
}

/// What the load needs.
#[derive(Debug)]
pub(crate) struct Material {
    full: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
    rsa: Arc<ClientConfig>,
    /// A gRPC message of 100 bytes.
    message: PathBuf,
}

impl Material {
    pub(crate) fn new(dir: &Path, certificates: &Certificates) -> anyhow::Result<Self> {
        let message = dir.join("message");
        std::fs::write(&message, [&[0, 0, 0, 0, 100][..], &[b'x'; 100]].concat())?;
        Ok(Self {
            full: certificates.ecdsa.client(false)?,
            resuming: certificates.ecdsa.client(true)?,
            rsa: certificates.rsa.client(false)?,
            message,
        })
    }
}

impl Work {
    pub(crate) const ALL: [Self; 17] = [
        Self::Http,
        Self::Https,
        Self::Handshake,
        Self::Resumed,
        Self::HandshakeRsa,
        Self::H2,
        Self::Grpc,
        Self::GrpcSerial,
        Self::Body,
        Self::BodyTls,
        Self::BodyH2,
        Self::Tcp,
        Self::TcpConnect,
        Self::TcpBulk,
        Self::Passthrough,
        Self::PassthroughConnect,
        Self::Udp,
    ];

    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether that peer can do it at all.
    pub(crate) fn is_done_by(self, peer: Peer) -> bool {
        (self, peer) != (Self::Udp, Peer::Haproxy)
    }

    pub(crate) fn more_is_better(self) -> bool {
        self == Self::TcpBulk
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::TcpBulk => "MB per CPU-second",
            Self::Handshake | Self::Resumed | Self::HandshakeRsa => "CPU-µs per connection",
            Self::TcpConnect | Self::PassthroughConnect => "CPU-µs per connection",
            Self::Tcp | Self::Passthrough => "CPU-µs per round trip",
            Self::Udp => "CPU-µs per datagram and answer",
            _ => "CPU-µs per request",
        }
    }

    /// The figure of a measurement, in [`Self::unit`].
    pub(crate) fn figure(self, cpu_ns: u64, done: Done) -> f64 {
        match self {
            Self::TcpBulk => done.bytes as f64 * 1e3 / cpu_ns as f64,
            _ => cpu_ns as f64 / 1e3 / done.count as f64,
        }
    }

    /// Makes work for so long.
    pub(crate) async fn run(
        self,
        ports: Ports,
        material: &Material,
        seconds: u32,
    ) -> anyhow::Result<Done> {
        let http2 = |connections, streams| Load {
            connections,
            streams,
            seconds,
        };
        let Ports { http, https, .. } = ports;
        match self {
            Self::Http => wrk::run(&format!("http://{http}/"), 64, seconds),
            Self::Https => wrk::run(&format!("https://{https}/"), 64, seconds),
            Self::Body => wrk::run(&format!("http://{http}/1m"), 16, seconds),
            Self::BodyTls => wrk::run(&format!("https://{https}/1m"), 16, seconds),
            Self::H2 => h2load::get(&format!("https://{https}/"), http2(8, 16)),
            Self::BodyH2 => h2load::get(&format!("https://{https}/1m"), http2(4, 4)),
            Self::Grpc | Self::GrpcSerial => {
                let url = format!("http://{}/bench.Echo/Call", ports.grpc);
                let load = match self {
                    Self::Grpc => http2(8, 16),
                    _ => http2(64, 1),
                };
                h2load::call(&url, &material.message, load)
            }
            Self::Udp => datagrams::run(ports.udp, 16, 16, seconds).await,
            _ => {
                let (target, how, connections) = self.streams(ports, material);
                streams::run(&target, how, connections, seconds).await
            }
        }
    }

    /// The work that tasks of this process make.
    fn streams(self, ports: Ports, material: &Material) -> (Target, Use, u32) {
        let target = |address, tls: Option<&Arc<ClientConfig>>| Target {
            address,
            tls: tls.cloned(),
        };
        let (full, resuming) = (Some(&material.full), Some(&material.resuming));
        match self {
            Self::Handshake => (target(ports.https, full), Use::NewRequests, 16),
            Self::Resumed => (target(ports.https, resuming), Use::NewRequests, 6),
            Self::HandshakeRsa => {
                let secure = target(ports.https_rsa, Some(&material.rsa));
                (secure, Use::NewRequests, 16)
            }
            Self::TcpConnect => (target(ports.tcp, None), Use::NewConnections, 16),
            Self::TcpBulk => (target(ports.source, None), Use::Download, 4),
            Self::Passthrough => (target(ports.passthrough, full), Use::RoundTrips, 64),
            Self::PassthroughConnect => (target(ports.passthrough, full), Use::NewConnections, 16),
            _ => (target(ports.tcp, None), Use::RoundTrips, 64),
        }
    }
}
