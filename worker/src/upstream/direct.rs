//! Connections of their own to endpoints, for bytes that are no HTTP.

use std::sync::Arc;
use std::time::Duration;

use tidegate_ir::PartName;

use super::balance::{Ticket, Upstream};
use super::dial::{self, dial};
use super::endpoint::Endpoint;
use super::gate::{Gate, Opened};
use crate::error::ProxyError;

/// A new connection, and the place that it takes at its backend.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) io: dial::Io,
    pub(crate) place: Place,
}

/// A place within the backend's bounds; dropping it leaves it to others.
#[derive(Debug)]
pub(crate) struct Place {
    _opened: Option<Opened>,
    _ticket: Option<Ticket>,
}

impl Upstream {
    /// Opens a connection to the endpoint that begins with the bytes `first`; where the backend has as many
    /// as it may, it waits for a place, as long as for a connection.
    ///
    /// # Errors
    /// When there is no place, or the endpoint does not accept the connection in time.
    pub(crate) async fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        certificate: Option<&PartName>,
        first: &[u8],
        bound: Duration,
    ) -> Result<Direct, ProxyError> {
        let transport = self.transport(certificate)?;
        let ticket = self.admit(endpoint)?;
        let opened = match transport.gate {
            Some(gate) => Some(place(gate, bound).await?),
            None => None,
        };
        Ok(Direct {
            io: dial(endpoint.address, first, transport.tls, bound).await?,
            place: Place {
                _opened: opened,
                _ticket: ticket,
            },
        })
    }

    /// Takes a place for datagrams, which cannot wait for one.
    ///
    /// # Errors
    /// When there is none, or when the backend asks for TLS, which datagrams do not have.
    pub(crate) fn take_place(&self, endpoint: &Arc<Endpoint>) -> Result<Place, ProxyError> {
        let transport = self.transport(None)?;
        if transport.tls.is_some() {
            return Err(ProxyError::Fault("there is no TLS for datagrams".into()));
        }
        let ticket = self.admit(endpoint)?;
        let opened = transport
            .gate
            .map(|gate| gate.open().ok_or(ProxyError::Overloaded));
        Ok(Place {
            _opened: opened.transpose()?,
            _ticket: ticket,
        })
    }
}

async fn place(gate: &Arc<Gate>, bound: Duration) -> Result<Opened, ProxyError> {
    loop {
        if let Some(opened) = gate.open() {
            return Ok(opened);
        }
        gate.wait(bound).await?;
    }
}
