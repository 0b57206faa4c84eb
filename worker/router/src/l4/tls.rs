//! Which listener of a port gets a TLS connection, by the server name in its ClientHello.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_ir::{Hostname, ListenerProtocol, TlsMode};

use super::{L4Listener, L4Target};
use crate::host::{HostMap, lower_case};

/// The TLS and HTTPS listeners of one port, by hostname.
#[derive(Debug)]
pub struct TlsPort {
    names: HostMap<Named>,
}

/// A listener of a port, as far as a ClientHello selects it.
#[derive(Debug)]
pub(super) enum Named {
    Https,
    Tls(Arc<L4Listener>),
}

/// What becomes of a TLS connection.
#[derive(Debug)]
pub enum SniDecision<'t> {
    /// An HTTPS listener has the name: TLS ends at the worker, with HTTP inside.
    Https,
    /// TLS ends at the worker, and the bytes inside go to the target.
    Terminate(&'t Arc<L4Listener>, &'t Arc<L4Target>),
    /// The bytes go to the target as they came.
    Passthrough(&'t Arc<L4Listener>, &'t Arc<L4Target>),
    /// No listener of the port has that name: the connection is closed without an alert.
    NoListener,
    /// No route of the listener claims that name: the connection is closed without an alert.
    NoRoute(&'t Arc<L4Listener>),
}

impl TlsPort {
    pub(super) fn new(names: BTreeMap<Hostname, Named>) -> Self {
        Self {
            names: HostMap::new(names),
        }
    }

    /// The most specific listener for a server name (`None` where the client sent none), and of its routes
    /// the one that claims the name most specifically.
    pub fn decide(&self, server_name: Option<&str>) -> SniDecision<'_> {
        let name = lower_case(server_name.unwrap_or_default());
        let listener = match self.names.matching(&name).next() {
            None => return SniDecision::NoListener,
            Some(Named::Https) => return SniDecision::Https,
            Some(Named::Tls(listener)) => listener,
        };
        let Some(target) = listener.target(&name) else {
            return SniDecision::NoRoute(listener);
        };
        match listener.listener.protocol {
            ListenerProtocol::Tls(TlsMode::Passthrough) => {
                SniDecision::Passthrough(listener, target)
            }
            _ => SniDecision::Terminate(listener, target),
        }
    }
}
