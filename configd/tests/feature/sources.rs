//! Sources: sessions fence older writers, full sets come at once, and mass deletions wait.

use std::time::Duration;

use serde_json::Value;
use tidegate_configd::audit::{self, Record};
use tidegate_proto::objects::v1::{
    ApplyMode, ApplyRequest, ApplyResponse, ListObjectsRequest, Operation, ResyncEnd,
    ResyncRequest, ResyncResponse, operation,
};
use tidegate_proto::sources::v1::source_service_client::SourceServiceClient;
use tidegate_proto::sources::v1::{
    ConfirmDeletionsRequest, ListSourcesRequest, OpenSessionRequest, RenewLeaseRequest,
    SetSourcePolicyRequest, Source, SourcePolicy, SourceState,
};
use tonic::{Code, Status};

use crate::bench::{Bench, SOURCE, delete, object, put, route};
use crate::identities::{Secured, refusal};

async fn open(bench: &Bench) -> u64 {
    open_for(bench, 60_000).await
}

async fn open_for(bench: &Bench, lease_ms: u64) -> u64 {
    let request = OpenSessionRequest {
        source: SOURCE.to_owned(),
        requested_by: "a test".to_owned(),
        lease_ms,
        ..OpenSessionRequest::default()
    };
    let opened = bench.sources().open_session(request).await;
    opened.unwrap().into_inner().session
}

fn batch(session: u64, sequence: u64, operations: Vec<Operation>) -> ApplyRequest {
    ApplyRequest {
        source: SOURCE.to_owned(),
        operations,
        session,
        sequence,
        ..ApplyRequest::default()
    }
}

async fn apply(bench: &Bench, request: ApplyRequest) -> Result<ApplyResponse, Status> {
    let applied = bench.objects().apply(request).await;
    applied.map(tonic::Response::into_inner)
}

fn set(objects: &[Value]) -> ResyncRequest {
    let end = ResyncEnd {
        objects: objects.len() as u64,
    };
    ResyncRequest {
        source: SOURCE.to_owned(),
        objects: objects.iter().map(object).collect(),
        end: Some(end),
        ..ResyncRequest::default()
    }
}

async fn resync(bench: &Bench, pieces: Vec<ResyncRequest>) -> Result<ResyncResponse, Status> {
    let resynced = bench.objects().resync(tokio_stream::iter(pieces)).await;
    resynced.map(tonic::Response::into_inner)
}

fn routes(names: std::ops::Range<usize>) -> Vec<Value> {
    names.map(|n| route(&format!("r{n:03}"), "/")).collect()
}

async fn names(bench: &Bench) -> Vec<String> {
    let request = ListObjectsRequest {
        page_size: 5_000,
        ..ListObjectsRequest::default()
    };
    let listed = bench.objects().list_objects(request).await;
    let objects = listed.unwrap().into_inner().objects.into_iter();
    objects
        .map(|stored| stored.object.unwrap().key.unwrap().name)
        .collect()
}

async fn source(bench: &Bench) -> Source {
    let mut client = bench.sources();
    let listed = client.list_sources(ListSourcesRequest::default()).await;
    let sources = listed.unwrap().into_inner().sources;
    sources.into_iter().next().expect("there is a source")
}

/// Waits until the source is like that.
async fn until(bench: &Bench, fits: impl Fn(&Source) -> bool) {
    let wait = async {
        while !fits(&source(bench).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.expect("the source becomes like that");
}

fn reason(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn a_newer_session_fences_the_older_one() {
    let (bench, _dir) = Bench::temporary().await;
    let old = open(&bench).await;
    apply(&bench, batch(old, 1, vec![put(&route("a", "/"))]))
        .await
        .unwrap();
    let new = open(&bench).await;
    assert!(new > old);
    let fenced = apply(&bench, batch(old, 2, vec![put(&route("b", "/"))])).await;
    assert_eq!(refusal(fenced), reason(Code::Aborted, "SESSION_FENCED"));
    let renewal = RenewLeaseRequest {
        source: SOURCE.to_owned(),
        session: old,
        lease_ms: None,
    };
    let fenced = bench.sources().renew_lease(renewal).await;
    assert_eq!(refusal(fenced), reason(Code::Aborted, "SESSION_FENCED"));
    assert_eq!(names(&bench).await, ["a"]);
    apply(&bench, batch(new, 1, vec![put(&route("b", "/"))]))
        .await
        .unwrap();
    assert_eq!(names(&bench).await, ["a", "b"]);
}

#[tokio::test]
async fn a_replayed_batch_is_answered_as_the_first_time_and_changes_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    let session = open(&bench).await;
    let first = batch(session, 1, vec![put(&route("a", "/"))]);
    let answer = apply(&bench, first.clone()).await.unwrap();
    apply(&bench, batch(session, 2, vec![delete(&route("a", "/"))]))
        .await
        .unwrap();
    let again = apply(&bench, first).await.unwrap();
    assert!(again.replayed && !answer.replayed);
    assert_eq!(
        (again.revision, again.changed),
        (answer.revision, answer.changed)
    );
    assert!(names(&bench).await.is_empty());
}

#[tokio::test]
async fn a_gap_in_the_writes_of_a_session_is_refused_with_the_next_one() {
    let (bench, _dir) = Bench::temporary().await;
    let session = open(&bench).await;
    let early = apply(&bench, batch(session, 2, vec![put(&route("a", "/"))])).await;
    let gap = reason(Code::FailedPrecondition, "SEQUENCE_GAP");
    assert_eq!(refusal(early), gap);
    let unknown = apply(&bench, batch(session + 1, 1, vec![put(&route("a", "/"))])).await;
    let unknown = refusal(unknown);
    assert_eq!(unknown, reason(Code::FailedPrecondition, "SESSION_UNKNOWN"));
    let without = batch(0, 1, vec![put(&route("a", "/"))]);
    let without = apply(&bench, without).await.unwrap_err();
    assert_eq!(without.code(), Code::InvalidArgument);
    assert!(names(&bench).await.is_empty());
}

#[tokio::test]
async fn writers_without_a_session_go_on_beside_one() {
    let (bench, _dir) = Bench::temporary().await;
    open(&bench).await;
    bench.apply(&[route("a", "/")]).await;
    assert_eq!(names(&bench).await, ["a"]);
}

#[tokio::test]
async fn a_set_that_breaks_off_changes_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    bench.apply(&[route("a", "/")]).await;
    let session = open(&bench).await;
    let cut = ResyncRequest {
        session,
        sequence: 1,
        end: None,
        ..set(&[route("b", "/")])
    };
    let incomplete = reason(Code::DataLoss, "RESYNC_INCOMPLETE");
    assert_eq!(refusal(resync(&bench, vec![cut.clone()]).await), incomplete);
    let short = ResyncRequest {
        end: Some(ResyncEnd { objects: 2 }),
        ..cut.clone()
    };
    assert_eq!(refusal(resync(&bench, vec![short]).await), incomplete);
    assert_eq!(names(&bench).await, ["a"]);
    // It was not carried out, so its number is the next one still.
    let whole = ResyncRequest {
        end: Some(ResyncEnd { objects: 1 }),
        ..cut
    };
    let answer = resync(&bench, vec![whole.clone()]).await.unwrap();
    assert_eq!((answer.put, answer.deleted, answer.held), (1, 1, 0));
    assert_eq!(names(&bench).await, ["b"]);
    assert!(resync(&bench, vec![whole]).await.unwrap().replayed);
}

#[tokio::test]
async fn a_set_larger_than_a_log_entry_is_swapped_in_at_once() {
    let (bench, _dir) = Bench::temporary().await;
    bench.apply(&[route("old", "/")]).await;
    let large = |n: usize| {
        let mut route = route(&format!("r{n:03}"), "/");
        route["metadata"]["annotations"] = serde_json::json!({"filler": "x".repeat(600_000)});
        route
    };
    let all: Vec<Value> = (0..30).map(large).collect();
    let mut pieces: Vec<ResyncRequest> = all.chunks(5).map(set).collect();
    for piece in &mut pieces {
        piece.end = None;
    }
    pieces.last_mut().unwrap().end = Some(ResyncEnd { objects: 30 });
    let mut client = bench.objects();
    let before = client.list_objects(ListObjectsRequest::default()).await;
    let before = before.unwrap().into_inner().revision;
    let answer = resync(&bench, pieces.clone()).await.unwrap();
    assert_eq!((answer.put, answer.deleted), (30, 1));
    assert!(answer.revision > before);
    let found = source(&bench).await;
    assert_eq!((found.objects, found.staged_objects), (30, 0));
    // The same again sends only names.
    let again = resync(&bench, pieces).await.unwrap();
    assert_eq!((again.revision, again.put), (answer.revision, 0));
}

#[tokio::test]
async fn deletions_of_more_than_a_fifth_wait_for_a_confirmation() {
    let (bench, dir) = Bench::temporary().await;
    resync(&bench, vec![set(&routes(0..40))]).await.unwrap();
    let answer = resync(&bench, vec![set(&routes(0..1))]).await.unwrap();
    assert_eq!((answer.deleted, answer.held), (0, 39));
    assert_eq!(names(&bench).await.len(), 40);
    let held = source(&bench).await.held.expect("deletions are held");
    assert_eq!((held.objects, held.of, held.first.len()), (39, 40, 39));
    let confirm = |id| ConfirmDeletionsRequest {
        source: SOURCE.to_owned(),
        id,
        reason: "the shop moves".to_owned(),
        ..ConfirmDeletionsRequest::default()
    };
    let mut client = bench.sources();
    let wrong = client.confirm_deletions(confirm(held.id + 1)).await;
    let not_held = reason(Code::FailedPrecondition, "NOT_HELD");
    assert_eq!(refusal(wrong), not_held);
    drop(client);
    // They wait through a restart, too.
    bench.stop().await;
    let bench = Bench::start(dir.path()).await;
    let mut client = bench.sources();
    let confirmed = client.confirm_deletions(confirm(held.id)).await;
    assert_eq!(confirmed.unwrap().into_inner().deleted, 39);
    drop(client);
    assert_eq!(names(&bench).await, ["r000"]);
    bench.stop().await;
    let mut records: Vec<Record> = vec![];
    audit::read(&dir.path().join(audit::FOLDER), &mut |record| {
        records.push(record);
    })
    .unwrap();
    let last = &records.last().unwrap().event;
    assert_eq!((last.changes_total, last.outcome.as_str()), (39, "OK"));
    assert_eq!(last.reason, "the shop moves");
    assert_eq!(last.changes[0], "delete HTTPRoute shop/r001");
}

#[tokio::test]
async fn a_later_set_with_the_objects_ends_the_hold() {
    let (bench, _dir) = Bench::temporary().await;
    resync(&bench, vec![set(&routes(0..40))]).await.unwrap();
    resync(&bench, vec![set(&routes(0..1))]).await.unwrap();
    let answer = resync(&bench, vec![set(&routes(0..40))]).await.unwrap();
    assert_eq!((answer.put, answer.deleted, answer.held), (0, 0, 0));
    assert_eq!(source(&bench).await.held, None);
}

#[tokio::test]
async fn a_dry_run_of_a_set_says_what_it_would_do() {
    let (bench, _dir) = Bench::temporary().await;
    bench.apply(&[route("a", "/")]).await;
    let tried = ResyncRequest {
        mode: ApplyMode::DryRun.into(),
        ..set(&[route("b", "/")])
    };
    let answer = resync(&bench, vec![tried]).await.unwrap();
    assert_eq!((answer.put, answer.deleted), (1, 1));
    assert_eq!(names(&bench).await, ["a"]);
}

#[tokio::test]
async fn a_source_is_kept_within_its_quota() {
    let (bench, _dir) = Bench::temporary().await;
    let policy = SetSourcePolicyRequest {
        source: SOURCE.to_owned(),
        policy: Some(SourcePolicy {
            objects_max: Some(1),
            ..SourcePolicy::default()
        }),
        ..SetSourcePolicyRequest::default()
    };
    let answer = bench.sources().set_source_policy(policy).await.unwrap();
    let policy = answer.into_inner().source.unwrap().policy.unwrap();
    assert_eq!(
        (policy.objects_max, policy.hold_percent),
        (Some(1), Some(20))
    );
    let two = || vec![put(&route("a", "/")), put(&route("b", "/"))];
    let message = bench.try_apply(two()).await.unwrap_err();
    assert!(
        message.message().contains("2 objects, its quota is 1"),
        "{message:?}"
    );
    let over = reason(Code::ResourceExhausted, "QUOTA_EXCEEDED");
    assert_eq!(refusal(bench.try_apply(two()).await), over);
    let set = set(&[route("a", "/"), route("b", "/")]);
    assert_eq!(refusal(resync(&bench, vec![set]).await), over);
    assert!(names(&bench).await.is_empty());
    bench.apply(&[route("a", "/")]).await;
}

#[tokio::test]
async fn a_lease_is_seen_and_renewed() {
    let (bench, _dir) = Bench::temporary().await;
    let session = open(&bench).await;
    assert_eq!(source(&bench).await.state(), SourceState::Live);
    let renewal = RenewLeaseRequest {
        source: SOURCE.to_owned(),
        session,
        lease_ms: Some(0),
    };
    let renewed = bench.sources().renew_lease(renewal).await.unwrap();
    let renewed = renewed.into_inner().source.unwrap();
    assert_eq!(renewed.state(), SourceState::NoLease);
    let known = renewed.session.unwrap();
    assert_eq!(
        (known.number, known.opened_by.as_str()),
        (session, "a test")
    );
    let short = OpenSessionRequest {
        source: SOURCE.to_owned(),
        lease_ms: 10,
        ..OpenSessionRequest::default()
    };
    let short = bench.sources().open_session(short).await.unwrap_err();
    assert_eq!(short.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_silent_source_is_withdrawn_where_its_policy_says_so() {
    let (bench, _dir) = Bench::temporary().await;
    let policy = SetSourcePolicyRequest {
        source: SOURCE.to_owned(),
        policy: Some(SourcePolicy {
            withdraw_after_ms: Some(0),
            ..SourcePolicy::default()
        }),
        ..SetSourcePolicyRequest::default()
    };
    bench.sources().set_source_policy(policy).await.unwrap();
    let session = open_for(&bench, 5_000).await;
    let first = batch(session, 1, vec![put(&route("a", "/"))]);
    apply(&bench, first).await.unwrap();
    until(&bench, |source| source.state() == SourceState::Withdrawn).await;
    assert!(names(&bench).await.is_empty());
    let late = batch(session, 2, vec![put(&route("a", "/"))]);
    let unknown = reason(Code::FailedPrecondition, "SESSION_UNKNOWN");
    assert_eq!(refusal(apply(&bench, late).await), unknown);
    let session = open(&bench).await;
    let early = batch(session, 1, vec![put(&route("a", "/"))]);
    let due = reason(Code::FailedPrecondition, "RESYNC_DUE");
    assert_eq!(refusal(apply(&bench, early).await), due);
    let back = ResyncRequest {
        session,
        sequence: 1,
        ..set(&[route("a", "/")])
    };
    resync(&bench, vec![back]).await.unwrap();
    assert_eq!(source(&bench).await.state(), SourceState::Live);
    assert_eq!(names(&bench).await, ["a"]);
}

#[tokio::test]
async fn sessions_go_on_after_a_restart() {
    let (bench, dir) = Bench::temporary().await;
    let old = open(&bench).await;
    let session = open(&bench).await;
    let first = batch(session, 1, vec![put(&route("a", "/"))]);
    let answer = apply(&bench, first.clone()).await.unwrap();
    bench.stop().await;
    let bench = Bench::start(dir.path()).await;
    let again = apply(&bench, first).await.unwrap();
    assert_eq!((again.replayed, again.revision), (true, answer.revision));
    let fenced = apply(&bench, batch(old, 1, vec![put(&route("b", "/"))])).await;
    assert_eq!(refusal(fenced), reason(Code::Aborted, "SESSION_FENCED"));
    apply(&bench, batch(session, 2, vec![put(&route("b", "/"))]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_batch_beyond_its_bound_is_refused_and_recorded() {
    let (bench, dir) = Bench::temporary().await;
    let large = |n: usize| {
        let mut route = route(&format!("r{n:03}"), "/");
        route["metadata"]["annotations"] = serde_json::json!({"filler": "x".repeat(600_000)});
        put(&route)
    };
    let refused = bench.try_apply((0..29).map(large).collect()).await;
    let too_large = reason(Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    assert_eq!(refusal(refused), too_large);
    // So large that the service does not see it.
    let refused = bench.try_apply((0..40).map(large).collect()).await;
    assert_eq!(refusal(refused), too_large);
    let piece = set(&[]);
    let all = (0..40).filter_map(|n| match large(n).operation {
        Some(operation::Operation::Put(object)) => Some(object),
        _ => None,
    });
    let piece = ResyncRequest {
        objects: all.collect(),
        ..piece
    };
    assert_eq!(refusal(resync(&bench, vec![piece]).await), too_large);
    bench.stop().await;
    let mut outcomes = vec![];
    audit::read(&dir.path().join(audit::FOLDER), &mut |record| {
        outcomes.push(record.event.outcome);
    })
    .unwrap();
    assert_eq!(outcomes, ["RESOURCE_EXHAUSTED"; 3]);
}

#[tokio::test]
async fn an_operator_has_sessions_of_its_own_source_and_confirms_nothing() {
    let secured = Secured::start().await;
    let mut operator = SourceServiceClient::new(secured.as_principal("operator/eu-1"));
    let opened = operator.open_session(OpenSessionRequest::default()).await;
    opened.unwrap();
    let other = OpenSessionRequest {
        source: "eu-2".to_owned(),
        ..OpenSessionRequest::default()
    };
    let other = operator.open_session(other).await;
    let denied = |why| reason(Code::PermissionDenied, why);
    assert_eq!(refusal(other), denied("SOURCE_NOT_OWN"));
    let confirm = operator.confirm_deletions(ConfirmDeletionsRequest::default());
    assert_eq!(refusal(confirm.await), denied("ROLE_NOT_ALLOWED"));
    let listed = operator.list_sources(ListSourcesRequest::default()).await;
    let sources = listed.unwrap().into_inner().sources;
    let session = sources[0].session.as_ref().unwrap();
    assert_eq!(session.opened_by, "spiffe://tidegate.test/operator/eu-1");
}

/// A piece of a set that is large enough for a log entry of its own.
fn large_piece(from: usize) -> ResyncRequest {
    let large = |n: usize| {
        let mut route = route(&format!("r{n:03}"), "/");
        route["metadata"]["annotations"] = serde_json::json!({"filler": "x".repeat(600_000)});
        route
    };
    let all: Vec<Value> = (from..from + 3).map(large).collect();
    ResyncRequest {
        end: None,
        ..set(&all)
    }
}

#[tokio::test]
async fn a_set_whose_caller_goes_away_is_taken_back_and_recorded() {
    let (bench, dir) = Bench::temporary().await;
    bench.apply(&[route("a", "/")]).await;
    let (pieces, stream) = tokio::sync::mpsc::channel(4);
    pieces.send(large_piece(0)).await.unwrap();
    pieces.send(large_piece(3)).await.unwrap();
    let mut client = bench.objects();
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    tokio::select! {
        answer = client.resync(stream) => panic!("the set has no end yet: {answer:?}"),
        () = until(&bench, |source| source.staged_objects > 0) => {}
    }
    until(&bench, |source| source.staged_objects == 0).await;
    assert_eq!(names(&bench).await, ["a"]);
    drop(pieces);
    bench.stop().await;
    let mut methods = vec![];
    audit::read(&dir.path().join(audit::FOLDER), &mut |record| {
        methods.push((record.event.method, record.event.outcome));
    })
    .unwrap();
    let (method, outcome) = methods.pop().unwrap();
    assert!(
        method.ends_with("/Resync") && outcome != "OK",
        "{method} {outcome}"
    );
}

#[tokio::test]
async fn what_is_stored_has_a_record_even_if_nobody_waits_for_the_answer() {
    let (bench, dir) = Bench::temporary().await;
    for n in 0..40 {
        let request = batch(0, 0, vec![put(&route(&format!("r{n:03}"), "/"))]);
        let mut client = bench.objects();
        let call = client.apply(request);
        // Callers that go at many moments.
        let _ = tokio::time::timeout(Duration::from_micros(200 * n), call).await;
    }
    let stored = names(&bench).await;
    bench.stop().await;
    let mut recorded = String::new();
    audit::read(&dir.path().join(audit::FOLDER), &mut |record| {
        recorded += &record.event.changes.concat();
    })
    .unwrap();
    let missing: Vec<_> = stored
        .iter()
        .filter(|name| !recorded.contains(*name))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {}", stored.len());
}
