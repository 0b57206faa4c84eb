//! The use of a connection by one exchange.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::Response;

use super::balance::Ticket;
use super::body::Body;
use super::failure::UpstreamError;
use super::gate::Gate;
use super::http1::{self, Idle, Shared};
use super::http2::Stream;
use super::pool::Place;
use crate::http::body::RequestBody;
use crate::http::forward::Head;
use crate::http::interim::Interim;

/// A connection for one exchange; dropping it closes the connection, unless others share it.
#[derive(Debug)]
pub(crate) struct Lease {
    kind: Kind,
    /// Ends when the exchange does.
    ticket: Option<Ticket>,
}

#[derive(Debug)]
enum Kind {
    Http1 {
        connection: Shared,
        reused: bool,
        place: Place,
        idle: Weak<Idle>,
        gate: Option<Arc<Gate>>,
    },
    Http2(Stream),
}

/// What came of sending a request.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The head of the answer.
    Answered(Response<Body>),
    /// There is none; the body comes back where nothing of the request was sent.
    Failed(UpstreamError, Option<RequestBody>),
}

impl Lease {
    pub(super) fn of_http1(
        connection: Shared,
        reused: bool,
        place: Place,
        idle: &Rc<Idle>,
        gate: Option<Arc<Gate>>,
    ) -> Self {
        let kind = Kind::Http1 {
            connection,
            reused,
            place,
            idle: Rc::downgrade(idle),
            gate,
        };
        Self { kind, ticket: None }
    }

    pub(super) fn of_http2(stream: Stream) -> Self {
        let kind = Kind::Http2(stream);
        Self { kind, ticket: None }
    }

    /// Whether the connection has served another exchange before, so that it may have been closed since.
    pub(crate) fn is_reused(&self) -> bool {
        match &self.kind {
            Kind::Http1 { reused, .. } => *reused,
            Kind::Http2(_) => true,
        }
    }

    /// Sends a request and waits for the head of its answer; interim answers go to `interim` meanwhile.
    pub(crate) async fn send(
        &mut self,
        head: &Head,
        scheme: &'static str,
        body: RequestBody,
        interim: Option<&Interim>,
    ) -> Sent {
        let sent = match &mut self.kind {
            Kind::Http1 {
                connection, reused, ..
            } => {
                let sent = http1::send(connection, *reused, head, body, interim).await;
                sent.map(|response| response.map(Body::Http1))
            }
            Kind::Http2(stream) => {
                let sent = stream.send(head, scheme, body, interim).await;
                sent.map(|response| response.map(Body::Http2))
            }
        };
        match sent {
            Ok(response) => Sent::Answered(response),
            Err((error, unsent)) => Sent::Failed(error, unsent),
        }
    }

    /// Keeps a ticket until the exchange ends.
    pub(crate) fn hold(&mut self, ticket: Option<Ticket>) {
        self.ticket = ticket;
    }

    /// The exchange is complete: the connection may serve another one.
    pub(crate) fn give_back(self) {
        if let Kind::Http1 {
            connection,
            place,
            idle,
            gate,
            ..
        } = self.kind
            && let Some(idle) = idle.upgrade()
        {
            idle.put(place, connection, gate);
        }
    }
}
