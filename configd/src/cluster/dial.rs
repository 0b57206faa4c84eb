//! How a configd reaches the others: their gRPC services and their peer ports, over mTLS where it has a certificate.

use std::time::Duration;

use tidegate_runtime::identity::{Credentials, Role};
use tidegate_store::{Dial, PlainDial};
use tonic::transport::{Channel, Endpoint};

use crate::listen::Security;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection whose other end answers no ping for this long is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// The way to the gRPC services at `url`, of a configd and nobody else. It connects when it is first used, and again
/// whenever its connection ends.
pub(crate) fn services(security: &Security, url: &str) -> Option<Channel> {
    let url = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let endpoint = Endpoint::from_shared(url).ok()?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    Some(match security {
        Security::Plaintext => endpoint.connect_lazy(),
        // Whatever the scheme says: nothing leaves in plaintext where there is a certificate.
        Security::MutualTls(credentials) => {
            endpoint.connect_with_connector_lazy(credentials.dialer(Role::Configd))
        }
    })
}

/// Dials peer ports over mTLS, and takes nobody but configds.
#[derive(Debug)]
pub(super) struct IdentityDial(pub(super) Credentials);

impl Dial for IdentityDial {
    fn channel(&self, address: &str) -> Result<Channel, String> {
        let endpoint = PlainDial::endpoint(address)?;
        let dialer = self.0.dialer(Role::Configd);
        Ok(endpoint.connect_with_connector_lazy(dialer))
    }
}
