//! Requests of the worker's own: copies for mirrors, questions for authorization servers.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use tidegate_ir::{BackendProtocol, PartName};

use crate::error::ProxyError;
use crate::http::body::RequestBody;
use crate::http::forward::Head;
use crate::thread::Thread;
use crate::upstream::{self, Lease, Sent, Upstream, Wish};

/// Bytes of an answer that nobody reads, for which its connection is kept; above, it is closed.
const DISCARDED_BYTES_MAX: usize = 64 << 10;

/// Time for an answer that nobody reads; then its connection is closed.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that no client waits for directly.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    pub(crate) upstream: &'c Upstream,
    pub(crate) protocol: BackendProtocol,
    pub(crate) scheme: &'static str,
    /// The certificate that the listener shows to backends.
    pub(crate) certificate: Option<&'c PartName>,
    /// Whether a request that may have been seen may be sent again.
    pub(crate) repeatable: bool,
}

impl Call<'_> {
    /// Sends the request to the first endpoint that accepts a connection. It is sent again where the
    /// connection had been closed while it was unused.
    ///
    /// # Errors
    /// When no endpoint accepts a connection, or the one that does gives no answer.
    pub(crate) async fn send(
        &self,
        thread: &Rc<Thread>,
        head: &Head,
        body: &Bytes,
    ) -> Result<(Response<upstream::Body>, Lease), ProxyError> {
        let mut outcome = ProxyError::NoEndpoint;
        self.upstream.ready().await;
        let transport = self.upstream.transport(self.certificate)?;
        for endpoint in self
            .upstream
            .candidates(Wish::default(), thread.limits.connect_attempts_max)
        {
            let address = endpoint.address;
            let mut fresh = false;
            outcome = loop {
                let connecting = thread
                    .pool
                    .connect(address, self.protocol, transport, fresh)
                    .await;
                let mut lease = match connecting {
                    Ok(lease) => lease,
                    Err(error) => break error,
                };
                let whole = RequestBody::Whole(body.clone());
                match lease.send(head, self.scheme, whole, None).await {
                    Sent::Answered(response) => return Ok((response, lease)),
                    Sent::Failed(error, unsent) => {
                        tracing::debug!(%address, %error, "a request of the worker's own failed");
                        let again = unsent.is_some() || self.repeatable;
                        if fresh || !lease.is_reused() || !again {
                            return Err(ProxyError::UpstreamClosed);
                        }
                        fresh = true;
                    }
                }
            };
        }
        Err(outcome)
    }
}

/// Reads an answer that nobody wants, so that its connection can serve another request.
pub(crate) fn discard(body: upstream::Body, lease: Lease) {
    tokio::task::spawn_local(async move {
        let reading = read_within(body, DISCARDED_BYTES_MAX);
        if let Ok(true) = tokio::time::timeout(DISCARD_TIMEOUT, reading).await {
            lease.give_back();
        }
    });
}

/// Reads a body to its end; false where it is larger than the bound, or broke off.
async fn read_within(mut body: upstream::Body, bytes_max: usize) -> bool {
    let mut left = bytes_max;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let len = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(len) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}
