//! A request on its way to a backend, while filters change it.

use std::time::Instant;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Response, Uri};
use tidegate_ir::Mirror;
use tidegate_router::{CompiledFilter, CompiledFilters};

use crate::error::ProxyError;
use crate::http::auth::{self, Question};
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::exchange::Exchange;
use crate::http::filter::{self, Changes};
use crate::http::forward::{Forwarding, Head};
use crate::http::forwarded;

/// What will be sent, as far as filters have been applied.
#[derive(Debug)]
pub(crate) struct Draft<'f> {
    forwarding: &'f Forwarding<'f>,
    method: Method,
    /// As the client sent it.
    uri: Uri,
    headers: HeaderMap,
    changes: Changes<'f>,
}

impl<'f> Draft<'f> {
    /// Takes off what belongs to the client's connection.
    pub(crate) fn new(forwarding: &'f Forwarding<'f>, request: Box<Parts>) -> Self {
        let Parts {
            method,
            uri,
            mut headers,
            ..
        } = *request;
        filter::remove_hop_by_hop(&mut headers);
        headers.remove(header::EXPECT);
        join_cookies(&mut headers);
        Self {
            forwarding,
            method,
            uri,
            headers,
            changes: Changes::default(),
        }
    }

    /// Applies filters that ask nobody.
    pub(crate) fn apply(&mut self, filters: &'f [CompiledFilter]) {
        filter::on_request(
            filters,
            &mut self.headers,
            self.uri.path(),
            self.forwarding.prefix_len,
            &mut self.changes,
        );
    }

    /// Applies filters in their order; returns the answer to a request that one of them refuses.
    pub(crate) async fn apply_asking(
        &mut self,
        filters: &[&'f CompiledFilters],
        body: &mut RequestBody,
        deadline: Option<Instant>,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<ResponseBody>>, ProxyError> {
        let host = self.headers.get(forwarded::HOST).cloned();
        for filter in filters.iter().flat_map(|filters| filters.list()) {
            let CompiledFilter::ExternalAuth(auth) = filter else {
                self.apply(std::slice::from_ref(filter));
                continue;
            };
            let question = Question {
                thread: self.forwarding.thread,
                connection: self.forwarding.connection,
                serving: self.forwarding.serving,
                method: &self.method,
                uri: &self.uri,
                host: host.as_ref(),
                certificate: self.forwarding.certificate,
                deadline,
            };
            let refusal = auth::ask(auth, &question, &mut self.headers, body, exchange).await?;
            if refusal.is_some() {
                return Ok(refusal);
            }
        }
        Ok(None)
    }

    /// The head for the backend, and the copies to send.
    pub(crate) fn finish(self) -> Result<(Head, Vec<&'f Mirror>), ProxyError> {
        let path_and_query = match &self.changes.path {
            Some(path) => with_query(path, self.uri.query())?,
            None => {
                let path_and_query = self.uri.path_and_query().cloned();
                path_and_query.unwrap_or(PathAndQuery::from_static("/"))
            }
        };
        let head = Head {
            method: self.method,
            path_and_query,
            headers: self.headers,
        };
        Ok((head, self.changes.mirrors))
    }
}

/// HTTP/2 clients may send a cookie in crumbs, which HTTP/1.1 does not know (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, cookie);
    }
}

pub(crate) fn with_query(path: &str, query: Option<&str>) -> Result<PathAndQuery, ProxyError> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(text)
        .map_err(|_| ProxyError::Fault("the rewritten path is not a valid path".into()))
}
