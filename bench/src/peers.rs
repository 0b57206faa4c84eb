//! The proxies that are measured, each with the same ports in front of the same backends.

mod envoy;
mod haproxy;
mod nginx;
pub(crate) mod tidegate;

use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;

use crate::backend::Backends;
use crate::certificates::Certificates;
use crate::objects;
use crate::process::Process;
use tidegate::{Tidegate, free_address};

/// A proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Nginx,
    Haproxy,
    Envoy,
    Tidegate,
}

/// Where a proxy listens, all on the loopback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// HTTP/1.1 in plain text.
    pub(crate) http: SocketAddr,
    /// HTTP by ALPN, with the ECDSA certificate.
    pub(crate) https: SocketAddr,
    /// The same with the RSA certificate.
    pub(crate) https_rsa: SocketAddr,
    /// HTTP/2 in plain text, to the gRPC backend.
    pub(crate) grpc: SocketAddr,
    /// TCP to the echo.
    pub(crate) tcp: SocketAddr,
    /// TCP to the source.
    pub(crate) source: SocketAddr,
    /// TLS that ends at the backend, chosen by SNI.
    pub(crate) passthrough: SocketAddr,
    /// UDP to the echo.
    pub(crate) udp: SocketAddr,
}

/// What all proxies are started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'s> {
    /// For configurations and logs.
    pub(crate) dir: &'s Path,
    pub(crate) backends: Backends,
    pub(crate) certificates: &'s Certificates,
}

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) ports: Ports,
    process: Started,
}

#[derive(Debug)]
enum Started {
    Foreign(Process),
    Ours(Box<Tidegate>),
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Tidegate => "tidegate",
        }
    }

    /// Starts it. The routes are for our own worker, which has them besides those that are measured.
    pub(crate) async fn start(
        self,
        site: Site<'_>,
        binary: &Path,
        routes: impl Iterator<Item = serde_json::Value>,
    ) -> anyhow::Result<Running> {
        let ports = Ports::free()?;
        let process = match self {
            Self::Nginx => Started::Foreign(nginx::start(site, ports)?),
            Self::Haproxy => Started::Foreign(haproxy::start(site, ports)?),
            Self::Envoy => Started::Foreign(envoy::start(site, ports)?),
            Self::Tidegate => {
                let ours = Tidegate::start(binary, site.dir).await?;
                let mut all = objects::site(ports, site);
                all.extend(routes);
                objects::apply(&ours.channel, &all).await?;
                Started::Ours(Box::new(ours))
            }
        };
        Ok(Running {
            peer: self,
            ports,
            process,
        })
    }
}

impl Running {
    /// User and system time so far, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> anyhow::Result<u64> {
        self.measured().cpu_ns()
    }

    /// Memory that it has for itself, shared pages by their share.
    pub(crate) fn pss_kib(&self) -> anyhow::Result<u64> {
        self.measured().pss_kib()
    }

    fn measured(&self) -> &Process {
        match &self.process {
            Started::Foreign(process) => process,
            Started::Ours(ours) => &ours.worker,
        }
    }
}

impl Ports {
    fn free() -> anyhow::Result<Self> {
        Ok(Self {
            http: free_address()?,
            https: free_address()?,
            https_rsa: free_address()?,
            grpc: free_address()?,
            tcp: free_address()?,
            source: free_address()?,
            passthrough: free_address()?,
            udp: free_address()?,
        })
    }
}
