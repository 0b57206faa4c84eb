//! SourceService: who feeds objects.

mod reply;

use tidegate_proto::raft::v1::change_source::Change;
use tidegate_proto::raft::v1::{ChangeSource, LeaseRenewal, OpenSession};
use tidegate_proto::sources::v1::source_service_server::SourceService;
use tidegate_proto::sources::v1::{
    ConfirmDeletionsRequest, ConfirmDeletionsResponse, ListSourcesRequest, ListSourcesResponse,
    OpenSessionRequest, OpenSessionResponse, RenewLeaseRequest, RenewLeaseResponse,
    SetSourcePolicyRequest, SetSourcePolicyResponse, Source,
};
use tidegate_store::{Command, Outcome};
use tonic::{Request, Response, Status};

use super::history::catch_up;
use super::objects::check;
use super::recorder::Recorder;
use crate::audit::Event;
use crate::caller::Caller;
use crate::sources::Watchman;
use crate::{clock, error};

/// Paths of the methods, for the audit log.
const OPEN: &str = "/tidegate.sources.v1.SourceService/OpenSession";
const RENEW: &str = "/tidegate.sources.v1.SourceService/RenewLease";
const CONFIRM: &str = "/tidegate.sources.v1.SourceService/ConfirmDeletions";
const POLICY: &str = "/tidegate.sources.v1.SourceService/SetSourcePolicy";

/// Answers SourceService.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) recorder: Recorder,
    pub(crate) watchman: Watchman,
}

#[tonic::async_trait]
impl SourceService for Sources {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let caller = super::caller(&request)?;
        let request = super::signed(request, |request| &mut request.requested_by)?;
        let event = Event::new(&caller, OPEN);
        let (source, event) = self.source(&caller, &request.source, "", event)?;
        let open = Command::OpenSession(OpenSession {
            source,
            by: request.requested_by,
            incarnation: request.incarnation,
            lease_ms: request.lease_ms,
            at_unix_ms: clock::unix_ms(),
        });
        let read = |outcome| match outcome {
            Outcome::SessionOpened {
                session,
                resync_due,
            } => {
                let opened = OpenSessionResponse {
                    session,
                    resync_due,
                };
                Ok((0, opened))
            }
            other => Err(error::not_stored(other)),
        };
        let opened = self.recorder.write(event, open, read).await?;
        Ok(Response::new(opened))
    }

    async fn renew_lease(
        &self,
        request: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        let caller = super::caller(&request)?;
        let request = request.into_inner();
        let event = Event::new(&caller, RENEW);
        let (source, event) = self.source(&caller, &request.source, "", event)?;
        let renewal = Change::RenewLease(LeaseRenewal {
            session: request.session,
            lease_ms: request.lease_ms,
        });
        // Signs of life are many and change nothing, so only those that are refused are recorded.
        let outcome = self.recorder.propose(change(&source, renewal)).await?;
        changed(outcome).map_err(|status| self.recorder.refused(event, status))?;
        let source = Some(self.seen(&source).await?);
        Ok(Response::new(RenewLeaseResponse { source }))
    }

    async fn list_sources(
        &self,
        request: Request<ListSourcesRequest>,
    ) -> Result<Response<ListSourcesResponse>, Status> {
        let asked = super::source(&super::caller(&request)?, &request.get_ref().source)?;
        catch_up(&self.recorder.store).await?;
        let sources = self.recorder.store.sources().into_iter();
        let sources = sources.filter(|(name, _)| asked.is_empty() || **name == *asked);
        let sources = sources.map(|(name, source)| self.reply(&name, &source));
        let sources = sources.collect();
        Ok(Response::new(ListSourcesResponse { sources }))
    }

    async fn confirm_deletions(
        &self,
        request: Request<ConfirmDeletionsRequest>,
    ) -> Result<Response<ConfirmDeletionsResponse>, Status> {
        let caller = super::caller(&request)?;
        let request = super::signed(request, |request| &mut request.requested_by)?;
        let event = Event::new(&caller, CONFIRM);
        let (source, event) = self.source(&caller, &request.source, &request.reason, event)?;
        let held = self.recorder.store.source(&source).held;
        let held = held.filter(|held| held.id == request.id);
        let keys = held.iter().flat_map(|held| held.keys.keys());
        let deletions: Vec<_> = keys.map(|key| format!("delete {key}")).collect();
        let event = event.changing(deletions.into_iter());
        let confirm = change(&source, Change::ConfirmDeletions(request.id));
        let read = |outcome| error::applied(outcome).map(|done| (done.revision, done));
        let done = self.recorder.write(event, confirm, read).await?;
        Ok(Response::new(ConfirmDeletionsResponse {
            revision: done.revision,
            deleted: done.changed,
        }))
    }

    async fn set_source_policy(
        &self,
        request: Request<SetSourcePolicyRequest>,
    ) -> Result<Response<SetSourcePolicyResponse>, Status> {
        let caller = super::caller(&request)?;
        let request = super::signed(request, |request| &mut request.requested_by)?;
        let event = Event::new(&caller, POLICY);
        let (source, event) = self.source(&caller, &request.source, &request.reason, event)?;
        let policy = reply::policy_wire(request.policy.unwrap_or_default());
        let policy = change(&source, Change::Policy(policy));
        let read = |outcome| changed(outcome).map(|()| (0, ()));
        self.recorder.write(event, policy, read).await?;
        let source = Some(self.seen(&source).await?);
        Ok(Response::new(SetSourcePolicyResponse { source }))
    }
}

impl Sources {
    /// The source of a request and the event that says so; a refusal is recorded.
    fn source(
        &self,
        caller: &Caller,
        asked: &str,
        reason: &str,
        event: Event,
    ) -> Result<(String, Event), Status> {
        let event = event.asked(asked, "", reason);
        let source = match super::source(caller, asked) {
            Ok(source) => source,
            Err(status) => return Err(self.recorder.refused(event, status)),
        };
        match check::source(&source).as_slice() {
            [] => {
                let event = event.asked(&source, "", reason);
                Ok((source, event))
            }
            violations => Err(self.recorder.refused(event, error::invalid(violations))),
        }
    }

    /// The source as it is after what this request wrote.
    async fn seen(&self, name: &str) -> Result<Source, Status> {
        catch_up(&self.recorder.store).await?;
        Ok(self.reply(name, &self.recorder.store.source(name)))
    }

    fn reply(&self, name: &str, source: &tidegate_store::Source) -> Source {
        reply::source(name, source, self.watchman.standing(name, source))
    }
}

fn change(source: &str, change: Change) -> Command {
    Command::ChangeSource(ChangeSource {
        source: source.to_owned(),
        at_unix_ms: clock::unix_ms(),
        change: Some(change),
    })
}

fn changed(outcome: Outcome) -> Result<(), Status> {
    match outcome {
        Outcome::SourceChanged => Ok(()),
        other => Err(error::not_stored(other)),
    }
}
