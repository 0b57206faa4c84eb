//! Which port of a snapshot a question means.

use tidegate_ir::{Listener, Snapshot};

use super::Unexplained;
use super::asked::Asked;

/// The port by which the snapshot knows a port: what a worker really bound counts before what the Gateway asks for.
pub(super) fn bind_port(
    snapshot: &Snapshot,
    asked: &Asked,
    port: u32,
    bound: &[(String, u16)],
) -> Result<u16, Unexplained> {
    let listeners: Vec<&Listener> = snapshot
        .listeners()
        .filter(|listener| asked.can_reach(listener))
        .collect();
    let named = |name: &str| listeners.iter().find(|listener| *listener.name == *name);
    let mut by_socket = bound
        .iter()
        .filter(|(_, socket)| u32::from(*socket) == port);
    let by_socket = by_socket.find_map(|(name, _)| named(name));
    let by_spec = || {
        listeners
            .iter()
            .find(|listener| u32::from(listener.port) == port)
    };
    if let Some(listener) = by_socket.or_else(by_spec) {
        return Ok(listener.bind_port);
    }
    let sockets = bound.iter().filter(|(name, _)| named(name).is_some());
    let mut others: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    others.extend(sockets.map(|(_, socket)| *socket));
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return Err(Unexplained::NoListener);
    }
    Err(Unexplained::OtherPorts { port, others })
}
