//! Copies of requests; whatever happens to them, the request itself is not affected.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tidegate_ir::Mirror;

use crate::http::body::RequestBody;
use crate::http::forward::{Forwarding, Head};
use crate::thread::{Open, Thread};
use crate::upstream::{Sent, Upstream};

/// The longest that a copy may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A copy on its way: what it holds counts as work in progress of the thread.
struct Copy {
    thread: Rc<Thread>,
    upstream: Arc<Upstream>,
    head: Head,
    scheme: &'static str,
    open: Open,
}

/// Sends the copies that chance selects, and returns the body for the request itself.
pub(crate) fn send(
    forwarding: &Forwarding<'_>,
    mirrors: &[&Mirror],
    head: &Head,
    body: Incoming,
) -> RequestBody {
    let empty = body.is_end_stream();
    let plain = |body| {
        if empty {
            RequestBody::Empty
        } else {
            RequestBody::Streamed(body)
        }
    };
    let copies = copies(forwarding, mirrors, head);
    if copies.is_empty() {
        return plain(body);
    }
    if empty {
        copies.into_iter().for_each(|copy| copy.start(Bytes::new()));
        return RequestBody::Empty;
    }
    let bytes_max = forwarding.thread.limits.mirror_body_bytes_max;
    if body.size_hint().lower() > bytes_max as u64 {
        return plain(body);
    }
    let (body, whole) = RequestBody::copied(body, bytes_max);
    tokio::task::spawn_local(async move {
        // Without the whole body, too large or broken off, there is no copy.
        if let Ok(whole) = whole.await {
            copies
                .into_iter()
                .for_each(|copy| copy.start(whole.clone()));
        }
    });
    body
}

fn copies(forwarding: &Forwarding<'_>, mirrors: &[&Mirror], head: &Head) -> Vec<Copy> {
    let thread = forwarding.thread;
    let selected = mirrors.iter().filter(|mirror| {
        let share = f64::from(mirror.numerator) / f64::from(mirror.denominator.max(1));
        thread.random_fraction() < share
    });
    let copy = |mirror: &&Mirror| {
        let open = thread.open_mirror()?;
        let upstream = forwarding.serving.upstream(&mirror.backend)?.clone();
        let (thread, head) = (thread.clone(), head.clone());
        Some(Copy {
            thread,
            upstream,
            head,
            scheme: forwarding.scheme,
            open,
        })
    };
    selected.filter_map(copy).collect()
}

impl Copy {
    fn start(self, body: Bytes) {
        tokio::task::spawn_local(async move {
            if tokio::time::timeout(TIMEOUT, self.run(body)).await.is_err() {
                tracing::debug!("a mirrored request took too long");
            }
        });
    }

    async fn run(self, body: Bytes) {
        let Some(address) = self.upstream.next(1).next() else {
            return;
        };
        let protocol = self.upstream.backend.protocol;
        let Ok(mut lease) = self.thread.pool.connect(address, protocol, false).await else {
            return;
        };
        let request = self
            .head
            .into_request(protocol, self.scheme, RequestBody::Whole(body));
        let response = match lease.send(request).await {
            Sent::Answered(response) => response,
            // The connection was closed while it was unused: nothing was sent.
            Sent::Failed(_, Some(unsent)) => {
                let Ok(fresh) = self.thread.pool.connect(address, protocol, true).await else {
                    return;
                };
                lease = fresh;
                let Sent::Answered(response) = lease.send(*unsent).await else {
                    return;
                };
                response
            }
            Sent::Failed(_, None) => return,
        };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return;
            }
        }
        lease.give_back();
        drop(self.open);
    }
}
