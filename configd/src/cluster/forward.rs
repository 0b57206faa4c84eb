//! Passes what only the leader answers on to it, with the name of who asks.

use std::error::Error;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::HeaderMap;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Layer, Service};

use super::Leader;
use super::relay::Relay;
use crate::access::{self, vouch};
use crate::call::Call;
use crate::caller::Caller;

/// What a replica answers from its own state, by the beginnings of the paths. All else is the leader's: it alone
/// compiles, records what was changed, and keeps plans.
const ANSWERED_HERE: [&str; 13] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/tidegate.raft.v1.PeerService/",
    "/tidegate.cluster.v1.ClusterService/GetStatus",
    "/tidegate.cluster.v1.ClusterService/Backup",
    "/tidegate.objects.v1.ObjectService/GetObject",
    "/tidegate.objects.v1.ObjectService/ListObjects",
    "/tidegate.objects.v1.ObjectService/WatchObjects",
    "/tidegate.snapshots.v1.SnapshotService/Subscribe",
    "/tidegate.snapshots.v1.SnapshotService/GetSnapshot",
    "/tidegate.snapshots.v1.SnapshotService/ListSnapshots",
    "/tidegate.snapshots.v1.SnapshotService/DiffSnapshots",
    "/tidegate.snapshots.v1.SnapshotService/WatchSnapshots",
];

/// With this the configd that is asked answers, whoever leads, with what it knows.
pub(crate) const LOCAL: &str = "tidegate-local";

/// The layer between the gate and the services; lets everything through where this configd is alone.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    leader: Option<Leader>,
    /// Ends what is passed on, so that the server can stop.
    end: CancellationToken,
}

/// A service behind the layer.
#[derive(Debug, Clone)]
pub(crate) struct Forwarding<S> {
    service: S,
    forward: Forward,
}

impl Forward {
    /// `leader` is `None` for a configd that is alone.
    pub(crate) fn new(leader: Option<Leader>, end: CancellationToken) -> Self {
        Self { leader, end }
    }

    /// The leader where it has to answer, `None` where this configd does.
    fn way(&self, path: &str, headers: &HeaderMap) -> Result<Option<Channel>, Status> {
        let Some(leader) = &self.leader else {
            return Ok(None);
        };
        if is_answered_here(path) || headers.contains_key(LOCAL) || leader.is_here() {
            return Ok(None);
        }
        if headers.contains_key(vouch::PASSED_ON) {
            return Err(leader.not_here());
        }
        leader.channel().map(Some)
    }
}

impl<S> Layer<S> for Forward {
    type Service = Forwarding<S>;

    fn layer(&self, service: S) -> Forwarding<S> {
        let forward = self.clone();
        Forwarding { service, forward }
    }
}

type Answer = http::Response<Body>;
type Passing<E> = Pin<Box<dyn Future<Output = Result<Answer, E>> + Send>>;

impl<S> Service<http::Request<Body>> for Forwarding<S>
where
    S: Service<http::Request<Body>, Response = Answer>,
    S::Error: 'static,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = Either<S::Future, Either<Passing<S::Error>, Ready<Result<Answer, S::Error>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let way = self.forward.way(request.uri().path(), request.headers());
        match way {
            Ok(None) => Either::Left(self.service.call(request)),
            Ok(Some(leader)) => {
                if let Some(call) = request.extensions().get::<Call>() {
                    call.is_passed_on();
                }
                let end = self.forward.end.clone();
                let passing = async move { Ok(pass_on(leader, request, end).await) };
                Either::Right(Either::Left(Box::pin(passing)))
            }
            Err(status) => Either::Right(Either::Right(ready(Ok(status.into_http())))),
        }
    }
}

async fn pass_on(leader: Channel, request: http::Request<Body>, end: CancellationToken) -> Answer {
    let is_read = !access::changes_state(request.uri().path());
    let request = vouched_for(request);
    let asking = ask(leader, request);
    match end.run_until_cancelled(asking).await {
        Some(Ok(answer)) => answer.map(|body| Body::new(Relay::new(body, end))),
        Some(Err(error)) => lost(&error, is_read).into_http(),
        None => Status::unavailable("configd is stopping").into_http(),
    }
}

/// The same request, with who sent it.
fn vouched_for(request: http::Request<Body>) -> http::Request<Body> {
    let (mut parts, body) = request.into_parts();
    if let Some(caller) = parts.extensions.get::<Caller>() {
        vouch::vouch(caller, &mut parts.headers);
    }
    // What the connection has put there is of no use on another one.
    parts.extensions.clear();
    http::Request::from_parts(parts, body)
}

async fn ask(
    mut leader: Channel,
    request: http::Request<Body>,
) -> Result<Answer, tonic::transport::Error> {
    poll_fn(|cx| leader.poll_ready(cx)).await?;
    leader.call(request).await
}

/// What it means to the caller that the leader did not answer.
fn lost(error: &tonic::transport::Error, is_read: bool) -> Status {
    let cause = crate::error::chain(error);
    if is_read || never_connected(error) {
        return Status::unavailable(format!(
            "the leader does not answer ({cause}); nothing was done, try again in a moment"
        ));
    }
    // Not UNAVAILABLE, which clients send again by themselves.
    Status::aborted(format!(
        "the leader was lost before it answered ({cause}), so this may or may not have been done; read again, or send \
         it again with the same request id"
    ))
}

fn never_connected(error: &tonic::transport::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn is_answered_here(path: &str) -> bool {
    ANSWERED_HERE.iter().any(|known| path.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::METHODS;

    #[test]
    fn every_path_that_is_answered_here_is_of_a_method() {
        for known in ANSWERED_HERE {
            let found = METHODS.iter().any(|(path, _)| path.starts_with(known));
            assert!(found, "{known}");
        }
    }

    #[test]
    fn writes_are_the_leaders_and_private_keys_do_not_pass_through_another() {
        assert!(!is_answered_here(
            "/tidegate.objects.v1.ObjectService/Apply"
        ));
        assert!(!is_answered_here("/tidegate.plans.v1.PlanService/GetPlan"));
        assert!(is_answered_here(
            "/tidegate.snapshots.v1.SnapshotService/Subscribe"
        ));
    }

    #[test]
    fn only_what_changes_nothing_is_sent_again_after_a_loss() {
        let changes_nothing = |path| !access::changes_state(path);
        assert!(changes_nothing(
            "/tidegate.statuses.v1.StatusService/ListStatuses"
        ));
        assert!(!changes_nothing("/tidegate.objects.v1.ObjectService/Apply"));
        assert!(!changes_nothing(
            "/tidegate.history.v1.HistoryService/Rollback"
        ));
    }
}
