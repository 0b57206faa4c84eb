//! Copies of requests; whatever happens to them, the request itself is not affected.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tidegate_ir::{Mirror, PartName};

use crate::http::body::RequestBody;
use crate::http::call::Call;
use crate::http::forward::{Forwarding, Head};
use crate::thread::{Open, Thread};
use crate::upstream::Upstream;

/// The longest that a copy may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A copy on its way: what it holds counts as work in progress of the thread.
struct Copy {
    thread: Rc<Thread>,
    upstream: Arc<Upstream>,
    head: Head,
    scheme: &'static str,
    certificate: Option<PartName>,
    open: Open,
}

/// Sends the copies that chance selects, and returns the body for the request itself.
pub(crate) fn send(
    forwarding: &Forwarding<'_>,
    mirrors: &[&Mirror],
    head: &Head,
    body: RequestBody,
) -> RequestBody {
    if mirrors.is_empty() {
        return body;
    }
    let copies = copies(forwarding, mirrors, head);
    let bytes_max = forwarding.thread.limits.mirror_body_bytes_max;
    if copies.is_empty() || body.size_hint().lower() > bytes_max as u64 {
        return body;
    }
    match body {
        RequestBody::Empty => {
            copies.into_iter().for_each(|copy| copy.start(Bytes::new()));
            RequestBody::Empty
        }
        RequestBody::Whole(whole) => {
            copies
                .into_iter()
                .for_each(|copy| copy.start(whole.clone()));
            RequestBody::Whole(whole)
        }
        RequestBody::Streamed(incoming) => {
            let (body, whole) = RequestBody::copied(*incoming, bytes_max);
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
        // Nobody has copied or sent the body before.
        other @ (RequestBody::Copied(_) | RequestBody::Replayed(_)) => other,
    }
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
            certificate: forwarding.certificate.cloned(),
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
        let call = Call {
            upstream: &self.upstream,
            protocol: self.upstream.backend.protocol,
            scheme: self.scheme,
            certificate: self.certificate.as_ref(),
            repeatable: false,
        };
        let Ok((response, lease)) = call.send(&self.thread, &self.head, &body).await else {
            return;
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
