//! A backend as the data threads use it: choice of endpoints, health, bounds, and how it is reached.
//!
//! A request asks for [`Upstream::candidates`], [`Upstream::admit`]s each attempt, and
//! [`Upstream::report`]s how it ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, header};
use tidegate_ir::{Backend, Balancing, ConnectionLimits, EndpointSet, HashKey, PartName, Security};

use super::budget::Budget;
use super::dns::Resolved;
use super::endpoint::{Endpoint, now_ms};
use super::gate::{Admitted, Gate};
use super::members::{Candidates, Members, Wish, token_of};
use super::ring;
use super::tls::TlsClient;
use crate::error::ProxyError;

/// How TLS is spoken to a backend, by the client certificate that is shown.
pub(crate) type TlsClients = Vec<(Option<PartName>, Arc<TlsClient>)>;

/// A backend with its endpoints.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) backend: Backend,
    members: Source,
    /// How TLS is spoken, by the client certificate of the listener.
    clients: TlsClients,
    gate: Option<Arc<Gate>>,
    budget: Option<Arc<Budget>>,
    turn: AtomicUsize,
}

/// Where the endpoints come from.
#[derive(Debug)]
pub(crate) enum Source {
    Fixed(Arc<Members>),
    Dns(Arc<Resolved>),
}

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transport<'u> {
    pub(crate) tls: Option<&'u Arc<TlsClient>>,
    pub(crate) gate: Option<&'u Arc<Gate>>,
}

/// An attempt in flight; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Ticket {
    _admitted: Option<Admitted>,
    counted: Option<Arc<Endpoint>>,
}

impl Upstream {
    /// A backend; bounds and budgets that did not change go on counting.
    pub(crate) fn new(
        backend: Backend,
        members: Source,
        clients: TlsClients,
        previous: Option<&Self>,
    ) -> Self {
        let gate = (backend.limits != ConnectionLimits::default()).then(|| {
            let known = previous.and_then(|previous| previous.gate.as_ref());
            let known = known.filter(|gate| *gate.limits() == backend.limits);
            known.cloned().unwrap_or_else(|| Gate::new(backend.limits))
        });
        let budget = backend.retry_budget.map(|terms| {
            let known = previous.and_then(|previous| previous.budget.as_ref());
            let known = known.filter(|budget| *budget.terms() == terms);
            known
                .cloned()
                .unwrap_or_else(|| Arc::new(Budget::new(terms)))
        });
        Self {
            backend,
            members,
            clients,
            gate,
            budget,
            turn: AtomicUsize::new(0),
        }
    }

    /// The endpoints of a set; those that stay keep what is known about them.
    pub(crate) fn fixed(
        backend: &Backend,
        endpoints: &EndpointSet,
        previous: Option<&Self>,
    ) -> Source {
        let addresses = endpoints.endpoints.iter();
        let addresses = addresses.map(|endpoint| (endpoint.address, endpoint.draining));
        let previous = previous.map(Self::members);
        let name = backend.name.clone();
        let members = Members::new(name, &backend.balancing, addresses, previous.as_deref());
        Source::Fixed(Arc::new(members))
    }

    /// Whether TLS is spoken just so.
    pub(crate) fn has_clients(&self, clients: &[(Option<PartName>, Arc<TlsClient>)]) -> bool {
        let same = |((name, own), (other_name, other)): (&(_, Arc<_>), &(_, Arc<_>))| {
            name == other_name && Arc::ptr_eq(own, other)
        };
        self.clients.len() == clients.len() && self.clients.iter().zip(clients).all(same)
    }

    /// Waits for the first answer of the DNS, where the endpoints come from there.
    pub(crate) async fn ready(&self) {
        if let Source::Dns(resolved) = &self.members {
            resolved.ready().await;
        }
    }

    /// At most `count` different endpoints in the order in which a request should try them.
    pub(crate) fn candidates(&self, wish: Wish, count: usize) -> Candidates {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let panic_percent = self
            .backend
            .ejection
            .map_or(0, |ejection| ejection.panic_percent);
        let balancing = &self.backend.balancing;
        let members = self.members();
        members.candidates(wish, turn, balancing, panic_percent, count)
    }

    /// What balancing by hash goes by; `None` where there is nothing to hash.
    pub(crate) fn hash_of(&self, headers: &HeaderMap, client: SocketAddr) -> Option<u64> {
        let Balancing::RingHash(key) = &self.backend.balancing else {
            return None;
        };
        match key {
            HashKey::ClientIp => Some(of_address(client)),
            HashKey::Header(name) => Some(ring::hash(headers.get(&**name)?.as_bytes())),
            HashKey::Cookie(name) => {
                cookie(headers, name).map(|value| ring::hash(value.as_bytes()))
            }
        }
    }

    /// The same for a client that speaks no HTTP.
    pub(crate) fn hash_of_client(&self, client: SocketAddr) -> Option<u64> {
        let by_client = Balancing::RingHash(HashKey::ClientIp);
        (self.backend.balancing == by_client).then(|| of_address(client))
    }

    /// Whether the address is one of its endpoints, draining or not.
    pub(crate) fn has_endpoint(&self, address: SocketAddr) -> bool {
        self.members().has(address)
    }

    /// How the endpoints are reached from a listener that shows this certificate.
    ///
    /// # Errors
    /// When TLS is asked for and cannot be set up: nothing is sent in plain then.
    pub(crate) fn transport(
        &self,
        certificate: Option<&PartName>,
    ) -> Result<Transport<'_>, ProxyError> {
        let tls = match &self.backend.security {
            Security::Plain => None,
            Security::Broken(reason) => return Err(ProxyError::Fault(reason.clone())),
            Security::Tls(tls) => {
                let shown = tls.client_certificate.as_ref().or(certificate);
                let client = self.clients.iter().find(|(name, _)| name.as_ref() == shown);
                let missing = || ProxyError::Fault("the backend's TLS is not set up".into());
                Some(client.map(|(_, client)| client).ok_or_else(missing)?)
            }
        };
        Ok(Transport {
            tls,
            gate: self.gate.as_ref(),
        })
    }

    /// Notes the start of an attempt.
    ///
    /// # Errors
    /// When the backend has as much as it may.
    pub(crate) fn admit(&self, endpoint: &Arc<Endpoint>) -> Result<Option<Ticket>, ProxyError> {
        let admitted = self.gate.as_ref().map(Gate::admit).transpose()?;
        let counts = self.backend.balancing == Balancing::LeastRequest;
        if admitted.is_none() && !counts {
            return Ok(None);
        }
        let counted = counts.then(|| {
            endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
            endpoint.clone()
        });
        Ok(Some(Ticket {
            _admitted: admitted,
            counted,
        }))
    }

    /// Notes how an attempt ended: with a connection failure, a timeout or a 5xx, or well. Whether the
    /// endpoint was ejected for it.
    pub(crate) fn report(&self, endpoint: &Endpoint, failed: bool) -> bool {
        let Some(ejection) = &self.backend.ejection else {
            return false;
        };
        if !failed {
            endpoint.succeed();
            return false;
        }
        let members = self.members();
        let now_ms = now_ms();
        if !endpoint.fail(ejection) || endpoint.is_ejected(now_ms) {
            return false;
        }
        let may_go = (members.ejected(now_ms) + 1) * 100;
        if may_go > members.len() * usize::from(ejection.max_percent) {
            return false;
        }
        members.note_ejection(endpoint.eject(ejection, now_ms));
        tracing::info!(backend = %self.backend.name, address = %endpoint.address, "an endpoint that fails again and again is left out for a while");
        true
    }

    /// Notes a request that is not a retry, where retries are counted against requests.
    pub(crate) fn note_request(&self) {
        if let Some(budget) = &self.budget {
            budget.note_request();
        }
    }

    /// Whether another attempt is within the budget; it is taken then.
    pub(crate) fn take_retry(&self) -> bool {
        self.budget
            .as_ref()
            .is_none_or(|budget| budget.take_retry())
    }

    /// The endpoint that a session's token stands for.
    pub(crate) fn by_token(&self, token: &str) -> Option<Arc<Endpoint>> {
        self.members().by_token(token)
    }

    /// The token that a session has for an endpoint.
    pub(crate) fn token_of(&self, address: SocketAddr) -> Box<str> {
        token_of(&self.backend.name, address)
    }

    fn members(&self) -> Arc<Members> {
        match &self.members {
            Source::Fixed(members) => members.clone(),
            Source::Dns(resolved) => resolved.members(),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.counted {
            endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A client's address as balancing by hash goes by it.
fn of_address(client: SocketAddr) -> u64 {
    ring::hash(client.ip().to_string().as_bytes())
}

/// The first value of a cookie.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
