//! Attempts at a backend: which endpoint, by which connection, and what is tried again.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response};
use http_body::Body as _;
use tidegate_ir::SessionPersistence;
use tracing::Instrument as _;

use crate::error::ProxyError;
use crate::http::body::RequestBody;
use crate::http::call::discard;
use crate::http::exchange::Exchange;
use crate::http::forward::{Forwarding, Head};
use crate::http::replay::Replay;
use crate::http::retry::Retries;
use crate::http::session::Session;
use crate::traces;
use crate::upstream::{self, Endpoint, Lease, Sent, Upstream, Wish};

/// The answer of a backend, and the connection that it came by.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<upstream::Body>,
    pub(crate) lease: Lease,
}

/// A backend as one request uses it.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    pub(crate) forwarding: &'a Forwarding<'a>,
    pub(crate) upstream: &'a Upstream,
    /// Whether the rule sends requests to other backends, too.
    pub(crate) shared: bool,
}

/// A connection for one attempt, and how long the rule lets the attempt take.
struct Attempt {
    endpoint: Arc<Endpoint>,
    lease: Lease,
    started: Instant,
    deadline: Option<Instant>,
}

/// Why an attempt failed.
struct Failure {
    error: ProxyError,
    /// Whether the backend has certainly done nothing.
    unseen: bool,
    /// The request's body, where nothing of the request was sent.
    unsent: Option<RequestBody>,
    /// The connection was closed before anything was received.
    closed: bool,
}

impl Attempts<'_> {
    /// Sends a request, again and elsewhere where that is allowed, and returns the last answer.
    ///
    /// # Errors
    /// The last attempt's, where it has none.
    pub(crate) async fn run(
        &self,
        mut head: Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        self.upstream.ready().await;
        self.upstream.note_request();
        let terms = self.forwarding.rule.session.as_deref();
        let terms = terms.or(self.upstream.backend.session.as_ref());
        match terms {
            None => self.choose(None, &mut head, body, exchange).await,
            Some(terms) => Box::pin(self.in_session(terms, &mut head, body, exchange)).await,
        }
    }

    /// At the endpoint of the client's session where it has one, and tells the client which one it was.
    async fn in_session(
        &self,
        terms: &SessionPersistence,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        let session = Session::of(terms, self.upstream, &head.headers, self.shared);
        let pinned = session.pinned();
        let mut answer = self.choose(pinned, head, body, exchange).await?;
        if let Some(address) = exchange.record.endpoint {
            let (tls, headers) = (
                self.forwarding.connection.tls,
                answer.response.headers_mut(),
            );
            session.tell(self.upstream, address, tls, headers);
        }
        Ok(answer)
    }

    async fn choose(
        &self,
        pinned: Option<Arc<Endpoint>>,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        let client = exchange.record.client;
        let hash = self.upstream.hash_of(&head.headers, client);
        let wish = Wish { pinned, hash };
        match &self.forwarding.rule.retry {
            None => {
                let connects_max = self.forwarding.thread.limits.connect_attempts_max;
                self.once(wish, connects_max, head, body, exchange).await
            }
            Some(terms) if terms.attempts == 0 => self.once(wish, 1, head, body, exchange).await,
            Some(terms) => {
                let retries = Retries::new(terms, &head.method, exchange.record.grpc);
                Box::pin(self.again_and_again(wish, retries, head, body, exchange)).await
            }
        }
    }

    /// Tries endpoints until one accepts a connection, and sends the request there.
    async fn once(
        &self,
        wish: Wish,
        connects_max: usize,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        let mut outcome = Err(ProxyError::NoEndpoint);
        for endpoint in self.upstream.candidates(wish, connects_max) {
            if exchange.record.endpoint.replace(endpoint.address).is_some() {
                exchange.record.retries += 1;
            }
            outcome = self.connect(&endpoint, false).await;
            if !outcome.as_ref().is_err_and(is_before_sending) {
                break;
            }
        }
        let sent = self.send(outcome?, head, body, exchange).await;
        sent.map_err(|failure| failure.error)
    }

    /// As the rule's `retry` says, at another endpoint each time where there is one.
    async fn again_and_again(
        &self,
        wish: Wish,
        mut retries: Retries<'_>,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, ProxyError> {
        let thread = self.forwarding.thread;
        let replay = Replay::new(body, thread.limits.retry_body_bytes_max);
        let mut candidates = self.upstream.candidates(wish.clone(), usize::MAX);
        loop {
            let endpoint = candidates.next().or_else(|| {
                let hash = wish.hash;
                candidates = self
                    .upstream
                    .candidates(Wish { pinned: None, hash }, usize::MAX);
                candidates.next()
            });
            let endpoint = endpoint.ok_or(ProxyError::NoEndpoint)?;
            exchange.record.endpoint = Some(endpoint.address);
            let outcome = self.attempt(&endpoint, head, &replay, exchange).await;
            let wanted = match &outcome {
                Ok(answer) => retries.wants(&answer.response),
                Err(failure) => failure.leads_to_another(&retries),
            };
            if !(wanted && retries.has_left() && replay.is_whole()) {
                return outcome.map_err(|failure| failure.error);
            }
            if let Ok(answer) = outcome {
                discard(answer.response.into_body(), answer.lease);
            }
            if !self.upstream.take_retry() {
                // GEP-3388 asks for 503 here, whatever the backend said.
                return Err(ProxyError::RetryBudget);
            }
            exchange.record.retries += 1;
            if let Some(wait) = retries.next_wait(thread.random_fraction()) {
                tokio::time::sleep(wait).await;
            }
        }
    }

    async fn attempt(
        &self,
        endpoint: &Arc<Endpoint>,
        head: &mut Head,
        replay: &Replay,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        let connected = self.connect(endpoint, false).await;
        let attempt = connected.map_err(Failure::of_connection)?;
        self.send(attempt, head, replay.body(), exchange).await
    }

    /// Sends the request; again by a new connection where the one at hand had been closed while it was
    /// unused, so that the backend has seen nothing, or has seen what may be seen twice.
    async fn send(
        &self,
        attempt: Attempt,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        let has_spare = attempt.lease.is_reused() && body.is_end_stream();
        let endpoint = attempt.endpoint.clone();
        let mut failure = match self.send_by(attempt, head, body, exchange).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let again = match failure.unsent.take() {
            Some(unsent) => unsent,
            None if has_spare && failure.may_repeat(&head.method) => RequestBody::Empty,
            None => return Err(failure),
        };
        Box::pin(self.send_afresh(&endpoint, head, again, exchange)).await
    }

    async fn send_afresh(
        &self,
        endpoint: &Arc<Endpoint>,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        exchange.record.retries += 1;
        let connected = self.connect(endpoint, true).await;
        let attempt = connected.map_err(Failure::of_connection)?;
        self.send_by(attempt, head, body, exchange).await
    }
}

impl Attempts<'_> {
    async fn connect(&self, endpoint: &Arc<Endpoint>, fresh: bool) -> Result<Attempt, ProxyError> {
        let forwarding = self.forwarding;
        let transport = self.upstream.transport(forwarding.certificate)?;
        let ticket = self.upstream.admit(endpoint)?;
        let started = Instant::now();
        let timeout = forwarding.rule.timeouts.backend_request_ms;
        let deadline = timeout.map(|ms| started + Duration::from_millis(ms));
        let protocol = self.upstream.backend.protocol;
        let pool = &forwarding.thread.pool;
        let connecting = pin!(pool.connect(endpoint.address, protocol, transport, fresh));
        let connected = within(deadline, connecting).await.flatten();
        // That the backend has as many connections as it may is no failure of the endpoint.
        let is_failure = |error: &ProxyError| !matches!(error, ProxyError::Overloaded);
        if connected.as_ref().is_err_and(is_failure) {
            self.report(endpoint, true);
        }
        let mut lease = connected?;
        lease.hold(ticket);
        Ok(Attempt {
            endpoint: endpoint.clone(),
            lease,
            started,
            deadline,
        })
    }

    fn report(&self, endpoint: &Endpoint, failed: bool) {
        if self.upstream.report(endpoint, failed) {
            let metrics = &self.forwarding.thread.metrics;
            metrics.backend(&self.upstream.backend.name).ejected();
        }
    }

    async fn send_by(
        &self,
        attempt: Attempt,
        head: &mut Head,
        body: RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Answer, Failure> {
        let Attempt {
            endpoint,
            mut lease,
            started,
            deadline,
        } = attempt;
        let scheme = self.forwarding.scheme;
        let interim = Some(&exchange.interim);
        let sent = if self.forwarding.thread.traces {
            let span = traces::client_span(&exchange.record, &mut head.headers);
            let sending = Box::pin(lease.send(head, scheme, body, interim).instrument(span));
            within(deadline, sending).await
        } else {
            within(deadline, pin!(lease.send(head, scheme, body, interim))).await
        };
        exchange.record.upstream = Some(started.elapsed());
        // A request whose client broke it off says nothing about the endpoint.
        let failed = match &sent {
            Ok(Sent::Answered(response)) => response.status().is_server_error(),
            Ok(Sent::Failed(error, unsent)) => unsent.is_none() && !error.is_of_request(),
            Err(_) => true,
        };
        self.report(&endpoint, failed);
        match sent {
            Ok(Sent::Answered(response)) => Ok(Answer { response, lease }),
            Ok(Sent::Failed(error, unsent)) => {
                tracing::debug!(address = %endpoint.address, %error, "an attempt at an endpoint failed");
                Err(Failure {
                    unseen: unsent.is_some() || error.was_refused(),
                    closed: error.was_closed(),
                    error: error.to_proxy_error(),
                    unsent,
                })
            }
            Err(error) => Err(Failure {
                error,
                unseen: false,
                unsent: None,
                closed: false,
            }),
        }
    }
}

impl Failure {
    /// Nothing was sent. An attempt that ran out of time counts among these: it was still connecting.
    fn of_connection(error: ProxyError) -> Self {
        let timed_out = matches!(error, ProxyError::BackendTimeout);
        Self {
            unseen: is_before_sending(&error) || timed_out,
            error,
            unsent: None,
            closed: false,
        }
    }

    /// Whether the request may be repeated at the same endpoint, by a new connection.
    fn may_repeat(&self, method: &Method) -> bool {
        self.unseen || (self.closed && method.is_idempotent())
    }

    fn leads_to_another(&self, retries: &Retries<'_>) -> bool {
        let timed_out = matches!(self.error, ProxyError::BackendTimeout);
        self.unseen || (timed_out && retries.wants_after_timeout())
    }
}

async fn within<F>(deadline: Option<Instant>, future: F) -> Result<F::Output, ProxyError>
where
    F: Future + Unpin,
{
    match deadline {
        Some(at) => {
            let output = tokio::time::timeout_at(at.into(), future).await;
            output.map_err(|_| ProxyError::BackendTimeout)
        }
        None => Ok(future.await),
    }
}

/// Whether no connection was made, so that the endpoint has seen nothing.
fn is_before_sending(error: &ProxyError) -> bool {
    matches!(
        error,
        ProxyError::ConnectFailed | ProxyError::ConnectTimeout | ProxyError::UpstreamTls
    )
}
