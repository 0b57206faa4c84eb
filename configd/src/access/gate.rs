//! Holds every request against the table before its service sees it, and records those that are too large for it to see.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Refusal, may_call, oversize, vouch};
use crate::audit::{AuditLog, Event};
use crate::caller::Caller;
use crate::error;

/// The layer in front of all services.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    audit: AuditLog,
}

/// A service behind the gate.
#[derive(Debug, Clone)]
pub(crate) struct Gated<S> {
    service: S,
    audit: AuditLog,
}

impl Gate {
    /// A gate that records whom it refuses.
    pub(crate) fn new(audit: AuditLog) -> Self {
        Self { audit }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, service: S) -> Gated<S> {
        let audit = self.audit.clone();
        Gated { service, audit }
    }
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S, B> Service<http::Request<B>> for Gated<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Answering<S::Error>, std::future::Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        match admit(&mut request) {
            Ok(()) => {
                let (event, audit) = (event(&request), self.audit.clone());
                let answering = self.service.call(request);
                Either::Left(Box::pin(async move {
                    let answer = answering.await?;
                    let Some(status) = oversize::refusal(&answer) else {
                        return Ok(answer);
                    };
                    record(&audit, event, &status);
                    Ok(status.into_http())
                }))
            }
            Err(refusal) => {
                let status = error::refused(&refusal);
                record(&self.audit, event(&request), &status);
                Either::Right(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

fn event<B>(request: &http::Request<B>) -> Option<Event> {
    let caller = request.extensions().get::<Caller>()?;
    Some(Event::new(caller, request.uri().path()))
}

fn record(audit: &AuditLog, event: Option<Event>, status: &Status) {
    if let Some(event) = event {
        audit.refused(event.ended(Err(status)));
    }
}

/// Holds a request against the table, and leaves in it who has sent it.
fn admit<B>(request: &mut http::Request<B>) -> Result<(), Refusal> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = vouch::original(caller.ok_or(Refusal::Unidentified)?, request.headers_mut())?;
    request.extensions_mut().insert(caller.clone());
    may_call(request.uri().path(), &caller)
}
