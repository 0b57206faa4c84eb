//! Every call goes through here: it gets an id, is held against the table of methods and roles, and leaves a record
//! where it changes state or is refused.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::{Either, ready};
use tidegate_runtime::tasks::Tasks;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, debug, info, info_span};

use super::{CURRENT, Call, CallId, answer, id};
use crate::access::{self, Refusal, may_call, oversize, vouch};
use crate::audit::{AuditLog, Event};
use crate::caller::Caller;
use crate::error;

/// The layer in front of all services.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    audit: AuditLog,
    /// What changes something is ended here, whether or not its caller waits for it.
    tasks: Tasks,
}

/// A service behind the gate.
#[derive(Debug, Clone)]
pub(crate) struct Gated<S> {
    service: S,
    audit: AuditLog,
    tasks: Tasks,
}

/// A call that is under way.
struct Begun {
    call: Call,
    id: CallId,
    caller: Option<Caller>,
    method: String,
    started: Instant,
    /// Whether the gate records what comes of it.
    is_recorded: bool,
}

impl Gate {
    /// A gate that writes to this log.
    pub(crate) fn new(audit: AuditLog, tasks: Tasks) -> Self {
        Self { audit, tasks }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, service: S) -> Gated<S> {
        let (audit, tasks) = (self.audit.clone(), self.tasks.clone());
        Gated {
            service,
            audit,
            tasks,
        }
    }
}

type Answer<E> = Result<http::Response<Body>, E>;

impl<S, B> Service<http::Request<B>> for Gated<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Answer<S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let mut begun = Begun::new(&request);
        // Whatever passes the request on passes its id on.
        request.headers_mut().insert(id::HEADER, begun.id.header());
        request.extensions_mut().insert(begun.call.clone());
        let admitted = begun.admit(&mut request, &self.audit);
        let answering = match admitted {
            Ok(()) => Either::Left(self.service.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        };
        let answering = CURRENT.scope(begun.id.clone(), answering);
        let answering = answering.instrument(begun.span());
        let (audit, is_recorded) = (self.audit.clone(), begun.is_recorded);
        let ending = async move { Ok(begun.end(answering.await?, &audit).await) };
        if !is_recorded {
            return Box::pin(ending);
        }
        // A caller that goes drops its request, and would take the change half-way and its record along.
        let ended = self.tasks.spawn("call", ending);
        Box::pin(async move { ended.await.unwrap_or_else(|_| Ok(failed().into_http())) })
    }
}

impl Begun {
    fn new<B>(request: &http::Request<B>) -> Self {
        let method = request.uri().path().to_owned();
        Self {
            call: Call::default(),
            id: CallId::of(request.headers()),
            caller: request.extensions().get::<Caller>().cloned(),
            started: Instant::now(),
            is_recorded: access::is_recorded(&method),
            method,
        }
    }

    /// The spans of reads would be most of a log.
    fn span(&self) -> tracing::Span {
        if access::changes_state(&self.method) {
            info_span!("call", id = %self.id)
        } else {
            tracing::Span::none()
        }
    }

    /// Whether the call may begin: its caller has the right to it, and there is room for its record.
    fn admit<B>(&mut self, request: &mut http::Request<B>, audit: &AuditLog) -> Result<(), Status> {
        if let Err(refusal) = self.identify(request) {
            self.is_recorded = true;
            return Err(error::refused(&refusal));
        }
        if self.is_recorded {
            audit.check()
        } else {
            Ok(())
        }
    }

    /// Holds a request against the table, and leaves in it who has sent it.
    fn identify<B>(&mut self, request: &mut http::Request<B>) -> Result<(), Refusal> {
        let caller = self.caller.clone().ok_or(Refusal::Unidentified)?;
        let caller = vouch::original(caller, request.headers_mut())?;
        self.caller = Some(caller.clone());
        request.extensions_mut().insert(caller.clone());
        may_call(&self.method, &caller)
    }

    async fn end(
        mut self,
        mut answer: http::Response<Body>,
        audit: &AuditLog,
    ) -> http::Response<Body> {
        if let Some(status) = oversize::refusal(&answer) {
            // No service has seen it, so none has recorded it.
            self.is_recorded = true;
            answer = status.into_http();
        }
        let failure = answer::failure(&answer);
        let answer = match self.record(failure.as_ref(), audit).await {
            Ok(()) => answer,
            Err(unrecorded) => unrecorded.into_http(),
        };
        self.log(failure.map_or(Code::Ok, |status| status.code()));
        answer::tagged(answer, &self.id)
    }

    /// Records what came of it. A change without a record is no success: its caller has to know.
    async fn record(&self, failure: Option<&Status>, audit: &AuditLog) -> Result<(), Status> {
        let Some((caller, event)) = self.caller.as_ref().zip(self.event(failure)) else {
            return Ok(());
        };
        let event = Event {
            call_id: self.id.to_string(),
            ..event.called(caller, &self.method)
        };
        let Some(status) = failure else {
            let revision = event.revision;
            let recorded = audit.write(event.ended(Ok(revision))).await;
            return recorded.map_err(|unrecorded| {
                let why = unrecorded.message();
                Status::unavailable(format!("it is done, but without a record of it: {why}"))
            });
        };
        let event = event.ended(Err(status));
        if changed_nothing(status.code()) {
            audit.refused(event);
            return Ok(());
        }
        // The caller hears of the failure in any case.
        let _ = audit.write(event).await;
        Ok(())
    }

    fn event(&self, failure: Option<&Status>) -> Option<Event> {
        if !self.is_recorded {
            return None;
        }
        self.call.event(failure.is_some())
    }

    fn log(&self, code: Code) {
        let caller = self.caller.as_ref().map(ToString::to_string);
        let (method, id) = (&self.method, &self.id);
        let elapsed_us = self.started.elapsed().as_micros() as u64;
        if access::changes_state(method) {
            info!(method, %id, caller, ?code, elapsed_us, "Call answered.");
        } else {
            debug!(method, %id, caller, ?code, elapsed_us, "Call answered.");
        }
    }
}

fn failed() -> Status {
    Status::internal("the call failed; configd's log says why")
}

/// Whether an error says for sure that all is as before. Records of these are bounded in number.
fn changed_nothing(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
    )
}
