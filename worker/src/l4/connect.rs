//! From a route to a connection to one of its backends.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use tidegate_ir::Target;
use tidegate_router::{L4Listener, L4Target};

use crate::error::ProxyError;
use crate::l4::flow::Flow;
use crate::limits::Limits;
use crate::serving::Serving;
use crate::upstream::{Direct, Upstream, Wish};

/// The backend whose turn it is.
///
/// # Errors
/// When nothing can be reached there.
pub(super) fn choose<'s>(
    serving: &'s Serving,
    listener: &Arc<L4Listener>,
    target: &Arc<L4Target>,
    flow: &mut Flow,
) -> Result<&'s Arc<Upstream>, ProxyError> {
    flow.record.listener = Some(listener.clone());
    flow.record.target = Some(target.clone());
    let backend = match target.next() {
        Target::Backend(name) => name,
        Target::Fault(reason) => return Err(ProxyError::Fault(reason.clone())),
    };
    flow.record.backend = Some(backend.clone());
    serving.upstream(backend).ok_or(ProxyError::NoEndpoint)
}

/// Connects to an endpoint, to another one where that fails; the connection begins with the bytes `first`.
///
/// # Errors
/// The last attempt's.
pub(super) async fn connect(
    upstream: &Upstream,
    first: &[u8],
    limits: &Limits,
    flow: &mut Flow,
) -> Result<Direct, ProxyError> {
    upstream.ready().await;
    let started = Instant::now();
    let listener = flow.record.listener.clone();
    let certificate = listener.and_then(|l4| l4.listener.backend_client_certificate.clone());
    let wish = Wish {
        pinned: None,
        hash: upstream.hash_of(&HeaderMap::new(), flow.record.client),
    };
    let mut outcome = Err(ProxyError::NoEndpoint);
    for endpoint in upstream.candidates(wish, limits.connect_attempts_max) {
        if flow.record.endpoint.replace(endpoint.address).is_some() {
            flow.record.retries += 1;
        }
        outcome = upstream
            .open(
                &endpoint,
                certificate.as_ref(),
                first,
                limits.connect_timeout,
            )
            .await;
        // A backend that has as many connections as it may says nothing about the endpoint.
        let failed = match &outcome {
            Ok(_) => false,
            Err(
                ProxyError::ConnectFailed | ProxyError::ConnectTimeout | ProxyError::UpstreamTls,
            ) => true,
            Err(_) => break,
        };
        if upstream.report(&endpoint, failed) {
            flow.ejected(upstream);
        }
        if !failed {
            break;
        }
    }
    flow.record.connect = Some(started.elapsed());
    outcome
}
