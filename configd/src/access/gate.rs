//! Holds every request against the table before its service sees it.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Refusal, may_call, vouch};
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

impl<S, B> Service<http::Request<B>> for Gated<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, std::future::Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        match admit(&mut request) {
            Ok(()) => Either::Left(self.service.call(request)),
            Err(refusal) => {
                let status = error::refused(&refusal);
                if let Some(caller) = request.extensions().get::<Caller>() {
                    let event = Event::new(caller, request.uri().path());
                    self.audit.refused(event.ended(Err(&status)));
                }
                Either::Right(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

/// Holds a request against the table, and leaves in it who has sent it.
fn admit<B>(request: &mut http::Request<B>) -> Result<(), Refusal> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = vouch::original(caller.ok_or(Refusal::Unidentified)?, request.headers_mut())?;
    request.extensions_mut().insert(caller.clone());
    may_call(request.uri().path(), &caller)
}
