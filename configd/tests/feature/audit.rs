//! Every write and every refusal leaves a record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tidegate_configd::audit::{self, Record};
use tidegate_proto::history::v1::version_ref::Version;
use tidegate_proto::history::v1::{
    FreezeRequest, LabelRequest, PinRequest, RollbackRequest, UnfreezeRequest, VersionRef,
};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyMode, ApplyRequest};
use tidegate_proto::plans::v1::{ApplyPlanRequest, CreatePlanRequest};
use tidegate_proto::rollouts::v1::{
    AbortRolloutRequest, RolloutStep, SetRolloutPolicyRequest, StartRolloutRequest,
};
use tidegate_proto::snapshots::v1::ListSnapshotsRequest;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::bench::{Bench, POOL, SOURCE, put, route, shop};
use crate::identities::{Secured, batch};

fn records(folder: &Path) -> Vec<Record> {
    let mut records = vec![];
    audit::read(folder, &mut |record| records.push(record)).unwrap();
    records
}

fn folder(data: &Path) -> PathBuf {
    data.join(audit::FOLDER)
}

#[tokio::test]
async fn writes_and_refusals_are_recorded_with_who_and_what() {
    let secured = Secured::start().await;
    let folder = folder(&secured.folder.path().join("data"));
    let mut operator = ObjectServiceClient::new(secured.as_principal("operator/eu-1"));
    let request = ApplyRequest {
        request_id: "r-7".to_owned(),
        reason: "a rollout".to_owned(),
        ..batch("", "")
    };
    let revision = operator.apply(request).await.unwrap().into_inner().revision;
    operator.apply(batch("eu-2", "eu-2")).await.unwrap_err();
    let mut reader = ObjectServiceClient::new(secured.as_principal("automation/read/grafana"));
    reader.apply(batch("eu-1", "eu-1")).await.unwrap_err();
    secured.bench.stop().await;

    let records = records(&folder);
    let [write, source, role] = &records[..] else {
        panic!("three records: {records:#?}");
    };
    assert_eq!(write.event.caller, "spiffe://tidegate.test/operator/eu-1");
    assert_eq!(
        write.event.method,
        "/tidegate.objects.v1.ObjectService/Apply"
    );
    assert_eq!(
        (write.event.source.as_str(), write.event.request_id.as_str()),
        ("eu-1", "r-7")
    );
    assert_eq!(write.event.reason, "a rollout");
    assert_eq!(write.event.changes, ["put HTTPRoute shop/cart"]);
    assert_eq!(
        (write.event.outcome.as_str(), write.event.revision),
        ("OK", revision)
    );
    assert_eq!(source.event.outcome, "PERMISSION_DENIED");
    assert_eq!(source.event.source, "eu-2");
    assert_eq!(
        role.event.caller,
        "spiffe://tidegate.test/automation/read/grafana"
    );
    assert!(role.event.message.contains("may not call"), "{role:?}");
}

#[tokio::test]
async fn what_is_not_valid_is_recorded_and_what_is_only_tried_is_not() {
    let (bench, dir) = Bench::temporary().await;
    let tried = ApplyRequest {
        mode: ApplyMode::DryRun.into(),
        ..batch("files", "files")
    };
    bench.objects().apply(tried).await.unwrap();
    bench
        .objects()
        .apply(batch("files", "others"))
        .await
        .unwrap_err();
    bench.stop().await;
    let records = records(&folder(dir.path()));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event.caller, "in-process");
    assert_eq!(records[0].event.outcome, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart() {
    let (bench, dir) = Bench::temporary().await;
    bench.try_apply(vec![put(&route("a", "/a"))]).await.unwrap();
    bench.stop().await;
    let bench = Bench::start(dir.path()).await;
    bench.try_apply(vec![put(&route("b", "/b"))]).await.unwrap();
    bench.stop().await;
    let numbers: Vec<_> = records(&folder(dir.path()))
        .iter()
        .map(|record| record.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_write_waits_until_the_log_can_be_written_again() {
    let (bench, dir) = Bench::temporary().await;
    let folder = folder(dir.path());
    // The first record needs a file in a folder that is gone.
    fs::remove_dir_all(&folder).unwrap();
    let status = bench
        .try_apply(vec![put(&route("a", "/a"))])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("without a record of it"),
        "{status:?}"
    );
    let status = bench
        .try_apply(vec![put(&route("b", "/b"))])
        .await
        .unwrap_err();
    assert!(
        status
            .message()
            .starts_with("the audit log cannot be written"),
        "{status:?}"
    );
    fs::create_dir_all(&folder).unwrap();
    while bench.try_apply(vec![put(&route("b", "/b"))]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.stop().await;
    assert!(
        records(&folder)
            .iter()
            .any(|record| record.event.outcome == "OK")
    );
}

/// What the names of methods begin with that only read.
const READING: [&str; 9] = [
    "Get",
    "List",
    "Watch",
    "Diff",
    "Blame",
    "Wait",
    "Explain",
    "Check",
    "Subscribe",
];

/// The paths of the methods that are open to others than configds.
fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(tidegate_proto::DESCRIPTORS).unwrap();
    let mut paths = vec![];
    for file in set
        .file
        .iter()
        .filter(|file| file.package() != "tidegate.raft.v1")
    {
        for service in &file.service {
            let methods = service.method.iter();
            let place = format!("/{}.{}", file.package(), service.name());
            paths.extend(methods.map(|method| format!("{place}/{}", method.name())));
        }
    }
    paths
}

/// Calls a method with an empty message, and returns what is wrong with that.
async fn call_empty(bench: &Bench, path: &str, id: Option<&'static str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(bench.channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = path.parse().unwrap();
    let mut request = Request::new(());
    if let Some(id) = id {
        request
            .metadata_mut()
            .insert("x-request-id", id.parse().unwrap());
    }
    client.unary(request, path, codec).await.map(drop)
}

#[tokio::test]
async fn every_method_that_changes_state_leaves_a_record() {
    let (bench, dir) = Bench::temporary().await;
    let changes = |path: &String| {
        let name = path.rsplit('/').next().unwrap();
        !READING.iter().any(|verb| name.starts_with(verb))
    };
    let changing: Vec<String> = methods().into_iter().filter(changes).collect();
    assert!(changing.len() > 15, "{changing:#?}");
    for path in &changing {
        // Some succeed with nothing, most are refused; either leaves a record.
        let _ = call_empty(&bench, path, None).await;
        // Of refusals so many are kept in a second.
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
    bench.stop().await;
    let records = records(&folder(dir.path()));
    let methods: Vec<&String> = records.iter().map(|record| &record.event.method).collect();
    assert_eq!(methods, changing.iter().collect::<Vec<_>>());
    for record in &records {
        assert_eq!(record.event.caller, "in-process");
        assert!(!record.event.call_id.is_empty(), "{record:?}");
    }
}

/// A configd that serves the shop, and the records of what is done with it.
async fn serving() -> (Bench, tempfile::TempDir) {
    let (bench, dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    bench
        .compiled(bench.apply(&[route("desk", "/desk")]).await.revision)
        .await;
    (bench, dir)
}

/// What the records after the first `skipped` say was changed, and what came of it.
fn told(dir: &Path, skipped: usize) -> Vec<(String, String)> {
    let records = records(&folder(dir));
    let events = records.into_iter().skip(skipped).map(|record| record.event);
    let told = |event: audit::Event| (event.changes.join(", "), event.outcome);
    events.map(told).collect()
}

fn ok(text: &str) -> (String, String) {
    (text.to_owned(), "OK".to_owned())
}

#[tokio::test]
async fn what_is_done_with_versions_is_recorded() {
    let (bench, dir) = serving().await;
    let newest = bench.newest().await.id.unwrap().version;
    let version = || {
        Some(VersionRef {
            pool: POOL.to_owned(),
            version: Some(Version::Number(newest)),
        })
    };
    let mut history = bench.history();
    let dry_run = RollbackRequest {
        dry_run: true,
        ..RollbackRequest::default()
    };
    history.rollback(dry_run).await.unwrap();
    let freeze = FreezeRequest {
        reason: "black Friday".to_owned(),
        ..FreezeRequest::default()
    };
    history.freeze(freeze).await.unwrap();
    history.unfreeze(UnfreezeRequest::default()).await.unwrap();
    let again = history.unfreeze(UnfreezeRequest::default()).await;
    assert_eq!(again.unwrap_err().code(), Code::FailedPrecondition);
    let pin = PinRequest { version: version() };
    history.pin(pin).await.unwrap();
    let label = LabelRequest {
        version: version(),
        label: "good".to_owned(),
    };
    history.label(label).await.unwrap();
    history.rollback(RollbackRequest::default()).await.unwrap();
    bench.stop().await;
    let refused = ("unfreeze".to_owned(), "FAILED_PRECONDITION".to_owned());
    let expected = [
        ok(&format!("freeze at version {newest}")),
        ok("unfreeze"),
        refused,
        ok(&format!("pin version {newest}")),
        ok(&format!("label version {newest} as good")),
        ok(&format!(
            "make version {} of version {}",
            newest + 1,
            newest - 1
        )),
    ];
    assert_eq!(told(dir.path(), 2), expected);
    let records = records(&folder(dir.path()));
    let freeze = &records[2].event;
    assert_eq!((&*freeze.pool, &*freeze.reason), (POOL, "black Friday"));
}

#[tokio::test]
async fn plans_and_rollouts_are_recorded() {
    let (bench, dir) = serving().await;
    let request = CreatePlanRequest {
        source: SOURCE.to_owned(),
        operations: vec![put(&route("till", "/till"))],
        reason: "a till".to_owned(),
    };
    let plan = bench.plans().create_plan(request).await.unwrap();
    let id = plan.into_inner().plan.unwrap().info.unwrap().id;
    let apply = ApplyPlanRequest {
        id: id.clone(),
        ..ApplyPlanRequest::default()
    };
    let applied = bench.plans().apply_plan(apply).await.unwrap();
    let revision = applied.into_inner().revision;
    let steps = || {
        vec![RolloutStep {
            percent: 50,
            workers: 0,
            bake_ms: 1,
            gates: None,
        }]
    };
    let mut rollouts = bench.rollouts();
    let start = StartRolloutRequest {
        steps: steps(),
        ..StartRolloutRequest::default()
    };
    rollouts.start_rollout(start).await.unwrap();
    let policy = SetRolloutPolicyRequest::default();
    rollouts.set_rollout_policy(policy).await.unwrap();
    let abort = rollouts.abort_rollout(AbortRolloutRequest::default()).await;
    assert_eq!(abort.unwrap_err().code(), Code::FailedPrecondition);
    bench.stop().await;
    let expected = [
        ok(&format!("make plan {id}")),
        ok(&format!("apply plan {id}, put HTTPRoute shop/till")),
        ok("roll the next version out in 1 steps"),
        ok("roll every version out in one go"),
        (String::new(), "FAILED_PRECONDITION".to_owned()),
    ];
    assert_eq!(told(dir.path(), 2), expected);
    let records = records(&folder(dir.path()));
    let applied = &records[3].event;
    assert_eq!((&*applied.source, &*applied.reason), (SOURCE, "a till"));
    assert_eq!(applied.revision, revision);
}

#[tokio::test]
async fn an_error_a_record_and_an_answer_name_their_call() {
    let (bench, dir) = Bench::temporary().await;
    // First, since of refusals so many are recorded in a second.
    let freeze = bench.history().freeze(FreezeRequest::default()).await;
    let status = freeze.unwrap_err();
    assert!(status.get_details_resource_info().is_some(), "{status:?}");
    let made = status.get_details_request_info().unwrap().request_id;
    let header = status.metadata().get("x-request-id").unwrap();
    assert_eq!(header.to_str().unwrap(), made);
    let paths = methods();
    for path in &paths {
        // These wait for something, or do not end.
        let name = path.rsplit('/').next().unwrap();
        if name.starts_with("Watch") || ["Subscribe", "Wait"].contains(&name) {
            continue;
        }
        let Err(status) = call_empty(&bench, path, Some("ci-4711")).await else {
            continue;
        };
        let details = status.get_error_details();
        let id = details.request_info().map(|info| info.request_id.clone());
        assert_eq!(id.as_deref(), Some("ci-4711"), "{path}: {status:?}");
        assert!(details.error_info().is_some(), "{path}: {status:?}");
    }
    let mut history = bench.history();
    let request = tidegate_proto::history::v1::ListPoolsRequest {};
    let list = history.list_pools(request).await.unwrap();
    assert!(list.metadata().contains_key("x-request-id"));
    bench.stop().await;
    let ids: Vec<String> = records(&folder(dir.path()))
        .into_iter()
        .map(|record| record.event.call_id)
        .collect();
    assert!(
        ids.contains(&"ci-4711".to_owned()) && ids.contains(&made),
        "{ids:?}"
    );
}

#[tokio::test]
async fn a_change_to_the_history_has_a_record_even_if_nobody_waits_for_the_answer() {
    let (bench, dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    for n in 0..40 {
        let label = LabelRequest {
            version: Some(VersionRef {
                pool: POOL.to_owned(),
                version: Some(Version::Number(1)),
            }),
            label: format!("l{n:02}"),
        };
        let mut history = bench.history();
        // Callers that go at many moments.
        let _ = tokio::time::timeout(Duration::from_micros(200 * n), history.label(label)).await;
    }
    let mut snapshots = bench.snapshots();
    let listed = snapshots.list_snapshots(ListSnapshotsRequest::default());
    let labels = listed
        .await
        .unwrap()
        .into_inner()
        .snapshots
        .remove(0)
        .labels;
    bench.stop().await;
    let records = records(&folder(dir.path()));
    let recorded: String = records
        .iter()
        .flat_map(|record| record.event.changes.clone())
        .collect();
    assert!(!labels.is_empty(), "some were in time");
    let missing: Vec<_> = labels
        .iter()
        .filter(|label| !recorded.contains(*label))
        .collect();
    assert!(missing.is_empty(), "{missing:?} have no record: {recorded}");
}
