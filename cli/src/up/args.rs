//! The flags of `tidegate up`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use thiserror::Error;
use tidegate_runtime::seal::SealArgs;
use tidegate_worker::{EdgeArgs, LimitArgs};

const EXAMPLES: &str = "\
Examples:
  tidegate up                                        a built-in demo
  tidegate up deploy/examples/quickstart             a folder; changes are served when saved
  tidegate up shop.yaml --backend shop/cart=127.0.0.1:3000
                                                     requests for Service shop/cart go to your own process
  tidegate up manifests/ --data-dir .tidegate --access-log
";

/// What to serve, and where.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Files and folders with Gateway API YAML; `-` is standard input; a demo without any
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Send a Service's requests to this address: NAMESPACE/SERVICE[:PORT]=HOST:PORT; may be repeated
    #[arg(long = "backend", value_name = "SERVICE=ADDR")]
    pub(super) backends: Vec<GivenBackend>,
    /// Directory for everything that must survive a restart; a temporary one without it
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Address of all listeners
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(super) bind: IpAddr,
    /// Bind ports below 1024 as they are, instead of adding 8000
    #[arg(long, conflicts_with = "any_ports")]
    pub(super) privileged_ports: bool,
    /// Let the system choose the port of every listener
    #[arg(long)]
    pub(super) any_ports: bool,
    /// Address of the gRPC services [default: 127.0.0.1:15010, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
    /// Address of the admin port: /livez, /readyz, /metrics [default: 127.0.0.1:15000, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<SocketAddr>,
    /// Allow --listen beyond the loopback: whoever reaches it reads private keys and changes everything
    #[arg(long)]
    pub(super) insecure_plaintext: bool,
    #[command(flatten)]
    pub(super) seal: SealArgs,
    /// Write a JSON line for each request to standard output
    #[arg(long)]
    pub(super) access_log: bool,
    /// Data threads; one per core without it
    #[arg(long, value_name = "COUNT")]
    pub(super) threads: Option<usize>,
    #[command(flatten)]
    pub(super) edge: EdgeArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

/// `shop/cart:80=127.0.0.1:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenBackend {
    pub(super) namespace: String,
    pub(super) service: String,
    /// 0 for every port of the Service.
    pub(super) port: u16,
    pub(super) address: SocketAddr,
}

/// Why a `--backend` is not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum InvalidBackend {
    /// The form is wrong.
    #[error("write it as NAMESPACE/SERVICE=HOST:PORT, such as shop/cart=127.0.0.1:3000")]
    Form,
    /// The address leads nowhere.
    #[error("\"{0}\" is no address; write it as HOST:PORT, such as 127.0.0.1:3000")]
    Address(String),
}

impl FromStr for GivenBackend {
    type Err = InvalidBackend;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, address) = text.split_once('=').ok_or(InvalidBackend::Form)?;
        let (namespace, service) = service.split_once('/').unwrap_or(("default", service));
        let (service, port) = match service.split_once(':') {
            Some((service, "")) => (service, 0),
            Some((service, port)) => (service, port.parse().map_err(|_| InvalidBackend::Form)?),
            None => (service, 0),
        };
        if namespace.is_empty() || service.is_empty() {
            return Err(InvalidBackend::Form);
        }
        let unknown = || InvalidBackend::Address(address.to_owned());
        let mut addresses = address.to_socket_addrs().map_err(|_| unknown())?;
        Ok(Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            port,
            address: addresses.next().ok_or_else(unknown)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_service_and_an_address() {
        let backend: GivenBackend = "shop/cart:80=127.0.0.1:3000".parse().expect("valid");
        assert_eq!(
            (backend.namespace.as_str(), backend.service.as_str()),
            ("shop", "cart")
        );
        assert_eq!((backend.port, backend.address.port()), (80, 3000));
        assert_eq!(
            "cart=127.0.0.1:1"
                .parse::<GivenBackend>()
                .expect("valid")
                .namespace,
            "default"
        );
        assert_eq!(
            "shop/cart".parse::<GivenBackend>(),
            Err(InvalidBackend::Form)
        );
        assert!("shop/cart=3000".parse::<GivenBackend>().is_err());
    }
}
