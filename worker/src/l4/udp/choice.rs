//! Where a new flow goes: the route of its listener, a backend by weight, an endpoint by the backend's balancing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tidegate_ir::Target;

use super::dropped::Dropped;
use crate::error::ProxyError;
use crate::l4::{Protocol, Record};
use crate::pressure::Level;
use crate::serving::Serving;
use crate::thread::Thread;
use crate::upstream::{Endpoint, Place, Upstream, Wish};

/// Where a flow goes.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) upstream: Arc<Upstream>,
    pub(super) endpoint: Arc<Endpoint>,
    _place: Place,
}

/// The way of a new flow, and the beginning of its record.
///
/// # Errors
/// When the client's datagrams go nowhere.
pub(super) fn choose(
    thread: &Thread,
    serving: &Serving,
    bind_port: u16,
    client: SocketAddr,
    now: Instant,
) -> Result<(Way, Record), Dropped> {
    if thread.pressure.level() > Level::None {
        return Err(Dropped::ShortOfMemory);
    }
    let version = serving.snapshot.version;
    let listener = serving.table.l4().udp(bind_port).ok_or(Dropped::NoRoute)?;
    let target = listener.target("").ok_or(Dropped::NoRoute)?;
    let backend = match target.next() {
        Target::Backend(name) => name,
        Target::Fault(_) => return Err(Dropped::RuleInvalid),
    };
    let upstream = serving.upstream(backend).ok_or(Dropped::NoEndpoint)?;
    let way = Way::to(upstream, client, None)?;
    let mut record = Record::start(Protocol::Udp, client, version, now);
    record.listener = Some(listener.clone());
    record.target = Some(target.clone());
    record.backend = Some(backend.clone());
    record.endpoint = Some(way.endpoint.address);
    Ok((way, record))
}

impl Way {
    /// A way to an endpoint of the backend, to another one than `failed` if there is one.
    ///
    /// # Errors
    /// When there is none, or no place at the backend.
    pub(super) fn to(
        upstream: &Arc<Upstream>,
        client: SocketAddr,
        failed: Option<SocketAddr>,
    ) -> Result<Self, Dropped> {
        let wish = Wish {
            pinned: None,
            hash: upstream.hash_of_client(client),
        };
        let mut candidates = upstream.candidates(wish, 2);
        let first = candidates.next().ok_or(Dropped::NoEndpoint)?;
        let endpoint = if failed == Some(first.address) {
            candidates.next().ok_or(Dropped::NoEndpoint)?
        } else {
            first
        };
        let place = upstream
            .take_place(&endpoint)
            .map_err(|error| match error {
                ProxyError::Overloaded => Dropped::Overloaded,
                _ => Dropped::RuleInvalid,
            })?;
        Ok(Self {
            upstream: upstream.clone(),
            endpoint,
            _place: place,
        })
    }
}
