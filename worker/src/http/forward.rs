//! Forwarding: filters, the choice of an endpoint, the attempts, and the way back.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderMap;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode, Version};
use tidegate_ir::{PartName, Target};
use tidegate_router::{CompiledAction, CompiledChoice, CompiledRule};

use crate::error::ProxyError;
use crate::http::attempts::{Answer, Attempts};
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::cors::Grant;
use crate::http::draft::Draft;
use crate::http::exchange::Exchange;
use crate::http::filter;
use crate::http::grpc;
use crate::http::mirror;
use crate::http::stack::Connection;
use crate::http::upgrade::{Expected, TunnelEnd, Wanted};
use crate::serving::Serving;
use crate::thread::Thread;

/// What forwarding a request takes.
#[derive(Debug)]
pub(crate) struct Forwarding<'s> {
    pub(crate) thread: &'s Rc<Thread>,
    pub(crate) connection: &'s Rc<Connection>,
    pub(crate) serving: &'s Serving,
    pub(crate) rule: &'s Arc<CompiledRule>,
    /// Bytes of the path that the rule's prefix covers.
    pub(crate) prefix_len: usize,
    /// The scheme of the client's request.
    pub(crate) scheme: &'static str,
    /// The certificate that the listener shows to backends.
    pub(crate) certificate: Option<&'s PartName>,
}

/// The head of a request, so that it can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path_and_query: PathAndQuery,
    pub(crate) headers: HeaderMap,
}

/// Sends a request to one choice of its rule and passes the answer on.
pub(crate) async fn forward(
    forwarding: &Forwarding<'_>,
    choice: &CompiledChoice,
    request: Box<Parts>,
    mut body: RequestBody,
    exchange: &mut Exchange,
) -> Result<Response<ResponseBody>, ProxyError> {
    let backend = match &choice.target {
        Target::Backend(name) => name,
        Target::Fault(reason) => return Err(ProxyError::Fault(reason.clone())),
    };
    exchange.record.backend = Some(backend.clone());
    // The closure check guarantees that every backend of a rule is there.
    let upstream = forwarding
        .serving
        .upstream(backend)
        .ok_or(ProxyError::NoEndpoint)?;
    let protocol = upstream.backend.protocol;
    let wanted = Wanted::of(exchange.tunnel.take(), &request.headers, protocol)?;
    let deadline = forwarding.deadline(&request.headers, exchange);
    let grant = choice.filters.cors();
    let grant = grant.map(|cors| Grant::new(cors, &request.headers));
    if let Some(answer) = grant.as_ref().and_then(|grant| grant.preflight(&request)) {
        exchange.record.reason = Some("cors_preflight");
        return Ok(answer);
    }
    let mut draft = Draft::new(forwarding, request);
    let filters = [&forwarding.rule.filters, &choice.filters];
    if filters.iter().any(|filters| filters.asks()) {
        let asking = draft.apply_asking(&filters, &mut body, deadline, exchange);
        if let Some(refusal) = Box::pin(asking).await? {
            return Ok(refusal);
        }
    } else {
        filters
            .iter()
            .for_each(|filters| draft.apply(filters.list()));
    }
    let (mut head, mirrors) = draft.finish()?;
    if let Some(wanted) = &wanted {
        wanted.ask(&mut head.headers);
    }
    let expected = Expected::of(wanted.as_ref(), &head.headers);
    let body = mirror::send(forwarding, &mirrors, &head, body);
    let attempts = Attempts {
        forwarding,
        upstream,
        shared: forwarding.shares(),
    };
    let trying = pin!(attempts.run(head, body, exchange));
    let answer = match deadline {
        Some(at) => tokio::time::timeout_at(at.into(), trying)
            .await
            .unwrap_or(Err(ProxyError::RequestTimeout))?,
        None => trying.await?,
    };
    expected.check(&answer.response)?;
    let mut response = pass_back(forwarding, choice, answer, wanted, deadline);
    if let Some(grant) = grant {
        grant.apply(&mut response);
    }
    Ok(response)
}

impl Forwarding<'_> {
    /// Whether the rule sends requests to several backends.
    fn shares(&self) -> bool {
        match &self.rule.action {
            CompiledAction::Forward(forward) => forward.choices().len() > 1,
            CompiledAction::Redirect(_) | CompiledAction::Fault(_) => false,
        }
    }

    /// When the request has to be answered: by the rule, or earlier by the client's own deadline.
    pub(crate) fn deadline(&self, headers: &HeaderMap, exchange: &Exchange) -> Option<Instant> {
        let rule = self.rule.timeouts.request_ms.map(Duration::from_millis);
        let client = exchange
            .record
            .grpc
            .then(|| grpc::timeout(headers))
            .flatten();
        let terms = self.serving.terms(self.connection.bind_port);
        let every = terms.limits.request_timeout;
        let timeout = [rule, client, every].into_iter().flatten().min()?;
        exchange.record.started.checked_add(timeout)
    }
}

/// The backend's answer with the rule's changes, on its way to the client.
fn pass_back(
    forwarding: &Forwarding<'_>,
    choice: &CompiledChoice,
    answer: Answer,
    wanted: Option<Wanted>,
    deadline: Option<Instant>,
) -> Response<ResponseBody> {
    let Answer {
        mut response,
        lease,
    } = answer;
    let filters = [&choice.filters, &forwarding.rule.filters];
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(wanted) = wanted
    {
        let open = forwarding.thread.open();
        let end = TunnelEnd {
            stop: forwarding.connection.stop.clone(),
            half_closed_timeout: forwarding.thread.limits.half_closed_timeout,
        };
        let mut response = wanted.tunnel(response, open, end);
        filters
            .iter()
            .for_each(|f| filter::on_response(f, response.headers_mut()));
        return response;
    }
    filter::remove_hop_by_hop(response.headers_mut());
    filters
        .iter()
        .for_each(|f| filter::on_response(f, response.headers_mut()));
    let (mut parts, incoming) = response.into_parts();
    parts.version = Version::HTTP_11;
    let body = ResponseBody::streamed(incoming, Some(lease), deadline.map(Into::into));
    Response::from_parts(parts, body)
}
