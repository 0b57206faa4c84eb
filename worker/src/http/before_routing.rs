//! The filters of a listener: they run before a route is looked for, and see every request (GEP-5224).

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, Uri};
use tidegate_router::{CompiledEdits, CompiledFilter, ListenerTable};

use crate::error::ProxyError;
use crate::http::auth::{self, Question};
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::draft::{join_cookies, with_query};
use crate::http::exchange::Exchange;
use crate::http::filter;
use crate::http::grpc;
use crate::http::stack::Arrival;

/// Applies the filters in their order; returns the answer to a request that one of them refuses. None of
/// them changes the host: it has selected the listener.
pub(crate) async fn run(
    listener: &ListenerTable,
    arrival: &Arrival<'_>,
    request: &mut Parts,
    body: &mut RequestBody,
    exchange: &mut Exchange,
) -> Result<Option<Response<ResponseBody>>, ProxyError> {
    join_cookies(&mut request.headers);
    for filter in listener.filters.list() {
        match filter {
            CompiledFilter::RequestHeaders(edits) => edit(edits, request),
            CompiledFilter::Rewrite(rewrite) => {
                if let Some(edit) = &rewrite.path {
                    let path = filter::edit_path(edit, request.uri.path(), 0).into_owned();
                    set_path(request, &path)?;
                }
            }
            CompiledFilter::ExternalAuth(auth) => {
                let timeout = exchange
                    .record
                    .grpc
                    .then(|| grpc::timeout(&request.headers));
                let timeout = timeout.flatten();
                let question = Question {
                    thread: arrival.thread,
                    connection: arrival.connection,
                    serving: &arrival.serving.serving,
                    method: &request.method,
                    uri: &request.uri,
                    host: Some(arrival.authority),
                    certificate: listener.listener.backend_client_certificate.as_ref(),
                    deadline: timeout.and_then(|t| exchange.record.started.checked_add(t)),
                };
                let refusal = auth::ask(auth, &question, &mut request.headers, body, exchange);
                let refusal = refusal.await?;
                if refusal.is_some() {
                    return Ok(refusal);
                }
            }
            // The table refuses listeners with these.
            CompiledFilter::ResponseHeaders(_) | CompiledFilter::Mirror(_) => {}
        }
    }
    Ok(None)
}

fn edit(edits: &CompiledEdits, request: &mut Parts) {
    let host: Option<HeaderValue> = request.headers.get(header::HOST).cloned();
    filter::edit_headers(edits, &mut request.headers);
    match host {
        Some(host) => drop(request.headers.insert(header::HOST, host)),
        None => drop(request.headers.remove(header::HOST)),
    }
}

/// Gives a request another path, and leaves its query.
pub(crate) fn set_path(request: &mut Parts, path: &str) -> Result<(), ProxyError> {
    let path_and_query = with_query(path, request.uri.query())?;
    let mut uri = std::mem::take(&mut request.uri).into_parts();
    uri.path_and_query = Some(path_and_query);
    request.uri = Uri::from_parts(uri)
        .map_err(|_| ProxyError::Fault("the rewritten path is not a valid path".into()))?;
    Ok(())
}
