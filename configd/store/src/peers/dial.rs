//! How a connection to another node is made.

use std::{fmt::Debug, time::Duration};

use tonic::transport::{Channel, Endpoint};

/// Time to connect; an election does not wait for a node that takes longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection whose other end answers no ping for this long is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Opens channels to other nodes. This is where a node proves who it is and learns whom it has reached; messages are
/// checked besides.
pub trait Dial: Debug + Send + Sync + 'static {
    /// A channel to `address`, as in [`Member::peer_address`](crate::Member::peer_address). It connects when it is first
    /// used, and again whenever its connection ends.
    ///
    /// # Errors
    ///
    /// A sentence, when this is no address.
    fn channel(&self, address: &str) -> Result<Channel, String>;
}

/// TCP without identity, for networks that only the cluster can reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainDial;

impl Dial for PlainDial {
    fn channel(&self, address: &str) -> Result<Channel, String> {
        endpoint(address).map(|endpoint| endpoint.connect_lazy())
    }
}

impl PlainDial {
    /// The settings of a connection to `address`.
    ///
    /// # Errors
    ///
    /// A sentence, when this is no address.
    pub fn endpoint(address: &str) -> Result<Endpoint, String> {
        endpoint(address)
    }
}

fn endpoint(address: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| format!("{address:?} is no peer address such as configd-0:15011"))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE))
}
