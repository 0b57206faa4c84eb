//! Connections to endpoints, kept per thread.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tidegate_codec::http1::HeadBounds;
use tidegate_ir::BackendProtocol;

use super::balance::Transport;
use super::dial::dial;
use super::gate::{Gate, Opened};
use super::http1::{Connection, Idle, Shared};
use super::http2::{Connections, Stream};
use super::lease::Lease;
use crate::error::ProxyError;
use crate::lane::Lane;
use crate::limits::Limits;

/// An endpoint and the TLS that is spoken to it: the id of a [`super::TlsClient`], 0 for plain text.
pub(super) type Place = (SocketAddr, u64);

/// The connections of one thread, by endpoint; it outlives snapshots.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Arc<Limits>,
    h1: Rc<Idle>,
    h2: Connections,
    /// Whoever needs a new connection makes way for those who do not: it costs as much as the rest of an exchange.
    lane: Lane,
}

impl Pool {
    pub(crate) fn new(limits: Arc<Limits>, lane: Lane) -> Rc<Self> {
        Rc::new(Self {
            h1: Idle::new(limits.upstream_idle_max, limits.upstream_idle_timeout),
            h2: Connections::new(limits.clone()),
            limits,
            lane,
        })
    }

    /// A connection to the endpoint: an unused one where there is one (unless `fresh`), else a new one.
    ///
    /// # Errors
    /// When the endpoint does not accept one in time, or the backend has as many as it may.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        protocol: BackendProtocol,
        transport: Transport<'_>,
        fresh: bool,
    ) -> Result<Lease, ProxyError> {
        let place = (address, transport.tls.map_or(0, |tls| tls.id()));
        Ok(match protocol {
            BackendProtocol::Http1 => {
                let (connection, reused) = self.lease_h1(place, transport, fresh).await?;
                let gate = transport.gate.cloned();
                Lease::of_http1(connection, reused, place, &self.h1, gate)
            }
            BackendProtocol::Http2 => {
                Lease::of_http2(self.lease_h2(place, transport, fresh).await?)
            }
            BackendProtocol::Tcp | BackendProtocol::Udp => {
                let reason = "the backend does not speak HTTP".into();
                return Err(ProxyError::Fault(reason));
            }
        })
    }

    /// Closes what has been unused for too long; call it now and then.
    pub(crate) fn sweep(&self) {
        self.h1.sweep();
        self.h2.sweep(self.limits.upstream_idle_timeout);
    }

    /// A connection, and whether it has been used before.
    async fn lease_h1(
        &self,
        place: Place,
        transport: Transport<'_>,
        fresh: bool,
    ) -> Result<(Shared, bool), ProxyError> {
        loop {
            if !fresh && let Some(unused) = self.h1.take(place) {
                return Ok((unused, true));
            }
            let opened = match transport.gate.map(Gate::open) {
                None => None,
                Some(Some(opened)) => Some(opened),
                Some(None) => {
                    Box::pin(self.wait(transport.gate)).await?;
                    continue;
                }
            };
            let opening = Box::pin(self.open_h1(place, transport, opened));
            return Ok((opening.await?, false));
        }
    }

    async fn lease_h2(
        &self,
        place: Place,
        transport: Transport<'_>,
        fresh: bool,
    ) -> Result<Stream, ProxyError> {
        loop {
            if !fresh && let Some(shared) = self.h2.share(place) {
                return Ok(shared);
            }
            let opened = match transport.gate.map(Gate::open) {
                None => None,
                Some(Some(opened)) => Some(opened),
                Some(None) => match self.h2.least_busy(place) {
                    Some(shared) => return Ok(shared),
                    None => {
                        Box::pin(self.wait(transport.gate)).await?;
                        continue;
                    }
                },
            };
            return Box::pin(self.h2.open(place, transport, opened)).await;
        }
    }

    async fn wait(&self, gate: Option<&Arc<Gate>>) -> Result<(), ProxyError> {
        match gate {
            Some(gate) => gate.wait(self.limits.connect_timeout).await,
            None => Ok(()),
        }
    }

    async fn open_h1(
        &self,
        place: Place,
        transport: Transport<'_>,
        opened: Option<Opened>,
    ) -> Result<Shared, ProxyError> {
        let limits = &self.limits;
        self.lane.pass().await;
        let io = dial(place.0, b"", transport.tls, limits.connect_timeout).await?;
        let bounds = HeadBounds {
            first_line_bytes_max: limits.request_line_bytes_max,
            header_bytes_max: limits.header_bytes_max,
            header_count_max: limits.header_count_max,
        };
        let connection = Connection::new(io, bounds, opened);
        Ok(Shared::new(connection.into()))
    }
}
