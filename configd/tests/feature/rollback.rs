//! Going back in the history: what is served again, what holds it, and what lets it go.

use serde_json::{Value, json};
use tidegate_proto::history::v1::history_service_client::HistoryServiceClient;
use tidegate_proto::history::v1::{
    BlameRequest, FreezeRequest, LabelRequest, ListPoolsRequest, ObjectName, PinRequest,
    RollbackRequest, RollbackResponse, UnfreezeRequest, VersionRef, blame_request::What,
    rollback_request::To, version_ref::Version,
};
use tidegate_proto::snapshots::v1::{
    ChangeType, DiffSnapshotsRequest, ListSnapshotsRequest, SnapshotInfo,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::bench::{Bench, FakeWorker, POOL, put, route, shop};
use crate::identities::Secured;

fn version(info: &SnapshotInfo) -> u64 {
    info.id.as_ref().unwrap().version
}

/// Endpoints of the Service at another port.
fn moved_endpoints(port: u16) -> Value {
    let mut slice = shop().remove(3);
    slice["ports"][0]["port"] = json!(port);
    slice
}

impl Bench {
    /// Two versions: the second has the bad change.
    async fn with_a_bad_change(&self) -> (SnapshotInfo, SnapshotInfo) {
        let good = self.compiled(self.apply(&shop()).await.revision).await;
        let bad = self.apply(&[route("cart", "/basket")]).await;
        (good, self.compiled(bad.revision).await)
    }

    async fn try_rollback(&self, to: Option<To>) -> Result<RollbackResponse, Status> {
        let request = RollbackRequest {
            to,
            reason: "carts are empty".to_owned(),
            requested_by: "anna".to_owned(),
            ..RollbackRequest::default()
        };
        let answer = self.history().rollback(request).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn unfreeze(&self) {
        let request = UnfreezeRequest {
            requested_by: "anna".to_owned(),
            reason: "repaired".to_owned(),
            ..UnfreezeRequest::default()
        };
        self.history().unfreeze(request).await.unwrap();
    }

    /// What differs between two versions, by part.
    async fn differing(&self, from: u64, to: u64) -> Vec<String> {
        let request = DiffSnapshotsRequest {
            pool: POOL.to_owned(),
            from_version: from,
            to_version: to,
        };
        let diff = self.snapshots().diff_snapshots(request).await.unwrap();
        let changes = diff.into_inner().changes;
        let parts = changes.into_iter().filter_map(|change| change.part);
        parts.map(|part| part.name).collect()
    }
}

fn reason(refusal: &Status) -> String {
    let details = refusal.get_error_details();
    details.error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn one_bad_change_is_one_call_back_and_stays_back() {
    let (bench, _dir) = Bench::temporary().await;
    let (good, bad) = bench.with_a_bad_change().await;
    let answer = bench.try_rollback(None).await.unwrap();
    let made = answer.snapshot.unwrap();
    assert_eq!(version(&made), version(&bad) + 1);
    assert_eq!(
        (made.parent, made.restores),
        (version(&bad), version(&good))
    );
    assert_eq!(made.revision, good.revision);
    assert_eq!(made.cause, "rollback to 1 by anna: carts are empty");
    assert_eq!(answer.changes.len(), 1);
    assert_eq!(answer.changes[0].fields[0].after, "/cart/*");
    assert!(
        bench
            .differing(version(&good), version(&made))
            .await
            .is_empty()
    );

    let later = bench.apply(&[route("cart", "/bag")]).await;
    bench.compiled(later.revision).await;
    assert_eq!(bench.newest().await.id, made.id, "the pool is frozen");

    bench.unfreeze().await;
    let next = bench.until(|info| info.id != made.id).await;
    assert_eq!(version(&next), version(&made) + 1);
    assert_eq!(
        next.cause,
        "unfrozen by anna: repaired; HTTPRoute shop/cart"
    );
    assert_eq!(next.revision, later.revision);
}

#[tokio::test]
async fn workers_get_a_rollback_as_a_newer_version() {
    let (bench, _dir) = Bench::temporary().await;
    let (good, bad) = bench.with_a_bad_change().await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let first = worker.update().await.remove(0);
    worker.ack(&first).await;
    bench.try_rollback(None).await.unwrap();
    let update = worker.update().await.remove(0);
    let info = update.info.unwrap();
    assert_eq!(update.base_version, version(&bad));
    assert_eq!(version(&info), version(&bad) + 1);
    assert_eq!(info.id.unwrap().digest, good.id.unwrap().digest);
}

#[tokio::test]
async fn a_rollback_keeps_the_addresses_of_today() {
    let (bench, _dir) = Bench::temporary().await;
    let (good, _) = bench.with_a_bad_change().await;
    let moved = bench.apply(&[moved_endpoints(4000)]).await;
    bench.compiled(moved.revision).await;
    let answer = bench.try_rollback(None).await.unwrap();
    let restored = version(&answer.restored.unwrap());
    assert_eq!(restored, version(&good), "a change of addresses is no step");
    let made = version(&answer.snapshot.unwrap());
    assert_eq!(
        bench.differing(version(&good), made).await,
        ["files/shop/cart/80"]
    );
    assert_eq!(
        bench.differing(made - 1, made).await,
        ["HTTPRoute/shop/cart"]
    );
}

#[tokio::test]
async fn a_frozen_pool_follows_addresses_and_nothing_else() {
    let (bench, _dir) = Bench::temporary().await;
    let before = bench.compiled(bench.apply(&shop()).await.revision).await;
    let request = FreezeRequest::default();
    let frozen = bench.history().freeze(request).await.unwrap().into_inner();
    assert_eq!(frozen.pool.unwrap().freeze.unwrap().by, "somebody");
    let change = bench
        .apply(&[route("cart", "/basket"), moved_endpoints(4000)])
        .await;
    let after = bench.compiled(change.revision).await;
    let (from, to) = (version(&before), version(&after));
    assert_eq!(bench.differing(from, to).await, ["files/shop/cart/80"]);
    assert_eq!(after.revision, before.revision);
    assert!(
        after.cause.starts_with("addresses while frozen: "),
        "{}",
        after.cause
    );
}

#[tokio::test]
async fn a_gateway_that_waits_for_an_unfreeze_is_not_programmed_and_says_so() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    worker.ack(&update).await;
    bench
        .history()
        .freeze(FreezeRequest::default())
        .await
        .unwrap();
    let mut gateway = shop().remove(1);
    let more = json!({"name": "more", "port": 81, "protocol": "HTTP"});
    gateway["spec"]["listeners"]
        .as_array_mut()
        .unwrap()
        .push(more);
    bench.compiled(bench.apply(&[gateway]).await.revision).await;
    let programmed = |status: Value| {
        let conditions = status["conditions"].as_array().unwrap().clone();
        let found = conditions
            .into_iter()
            .find(|one| one["type"] == "Programmed");
        found.unwrap()
    };
    let waiting = programmed(bench.status("Gateway", "web").await);
    assert_eq!(waiting["status"], "False");
    let message = waiting["message"].as_str().unwrap();
    assert!(message.contains("frozen by somebody"), "{message}");

    bench.unfreeze().await;
    let update = worker.update().await.remove(0);
    worker.ack(&update).await;
    let serves = |status: &Value| status["status"] == "True";
    for _ in 0..2_000 {
        if serves(&programmed(bench.status("Gateway", "web").await)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the Gateway is never programmed");
}

#[tokio::test]
async fn a_rollback_that_expects_another_version_changes_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    let (_, bad) = bench.with_a_bad_change().await;
    let request = RollbackRequest {
        expected_version: 1,
        ..RollbackRequest::default()
    };
    let refusal = bench.history().rollback(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refusal), "VERSION_MOVED");
    assert_eq!(bench.newest().await.id, bad.id);
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    let (_, bad) = bench.with_a_bad_change().await;
    let request = RollbackRequest {
        dry_run: true,
        ..RollbackRequest::default()
    };
    let answer = bench
        .history()
        .rollback(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.snapshot, answer.changes.len()), (None, 1));
    assert_eq!(bench.newest().await.id, bad.id);
}

#[tokio::test]
async fn where_to_go_back_to_must_be_clear() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let refusal = bench.try_rollback(None).await.unwrap_err();
    assert_eq!(reason(&refusal), "NOTHING_BEFORE");
    let refusal = bench.try_rollback(Some(To::Version(1))).await.unwrap_err();
    assert_eq!(reason(&refusal), "SAME_CONTENT");
    let refusal = bench.try_rollback(Some(To::Version(9))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    let change = bench.apply(&[route("cart", "/basket")]).await;
    bench.compiled(change.revision).await;
    bench.try_rollback(None).await.unwrap();
    let refusal = bench.try_rollback(None).await.unwrap_err();
    assert_eq!(
        reason(&refusal),
        "FROZEN",
        "the version before is the bad one"
    );
}

#[tokio::test]
async fn a_label_is_a_place_to_go_back_to_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path()).await;
    let (good, _) = bench.with_a_bad_change().await;
    let label = |number, label: &str| LabelRequest {
        version: Some(VersionRef {
            pool: POOL.to_owned(),
            version: Some(Version::Number(number)),
        }),
        label: label.to_owned(),
    };
    bench.history().label(label(2, "known-good")).await.unwrap();
    bench.history().label(label(1, "known-good")).await.unwrap();
    let pin = PinRequest {
        version: label(1, "").version,
    };
    bench.history().pin(pin).await.unwrap();
    bench.stop().await;

    let bench = Bench::start(dir.path()).await;
    let listed = bench
        .snapshots()
        .list_snapshots(ListSnapshotsRequest::default())
        .await;
    let listed = listed.unwrap().into_inner().snapshots;
    let marks: Vec<_> = listed
        .iter()
        .map(|info| (info.labels.len(), info.pinned))
        .collect();
    assert_eq!(marks, [(0, false), (1, true)]);
    let to = Some(To::Label("known-good".to_owned()));
    let answer = bench.try_rollback(to).await.unwrap();
    assert_eq!(answer.restored.unwrap().id, good.id);
    let unknown = Some(To::Label("best".to_owned()));
    let refusal = bench.try_rollback(unknown).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert!(refusal.message().contains("known-good"), "{refusal}");
    bench.stop().await;

    let bench = Bench::start(dir.path()).await;
    let pools = bench
        .history()
        .list_pools(ListPoolsRequest {})
        .await
        .unwrap();
    let freeze = pools.into_inner().pools.remove(0).freeze.unwrap();
    assert_eq!((&*freeze.by, &*freeze.reason), ("anna", "carts are empty"));
    bench.stop().await;
}

#[tokio::test]
async fn blame_names_the_version_that_changed_an_object_last() {
    let (bench, _dir) = Bench::temporary().await;
    let (good, bad) = bench.with_a_bad_change().await;
    let object = |kind: &str, name: &str| BlameRequest {
        pool: POOL.to_owned(),
        what: Some(What::Object(ObjectName {
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        })),
    };
    let blame = async |request| {
        let answer = bench.history().blame(request).await.unwrap();
        let parts = answer.into_inner().parts;
        let line = |part: &tidegate_proto::history::v1::BlamedPart| {
            (part.r#type(), part.snapshot.as_ref().map(version))
        };
        parts.iter().map(line).collect::<Vec<_>>()
    };
    let (first, second) = (Some(version(&good)), Some(version(&bad)));
    assert_eq!(
        blame(object("HTTPRoute", "cart")).await,
        [(ChangeType::Modified, second)]
    );
    let added = (ChangeType::Added, first);
    assert_eq!(blame(object("Service", "cart")).await, [added, added]);
    assert_eq!(blame(object("Gateway", "web")).await, [added]);
    assert_eq!(blame(BlameRequest::default()).await.len(), 4);
    let gone = bench
        .try_apply(vec![crate::bench::delete(&route("cart", ""))])
        .await;
    let third = version(&bench.compiled(gone.unwrap().revision).await);
    let removed = (ChangeType::Removed, Some(third));
    assert_eq!(blame(object("HTTPRoute", "cart")).await, [removed]);
    let refusal = bench.history().blame(object("Pod", "x")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    let again = bench.try_apply(vec![put(&route("cart", "/cart"))]).await;
    assert!(again.is_ok());
}

#[tokio::test]
async fn who_has_a_certificate_signs_with_it() {
    let secured = Secured::start().await;
    secured.bench.with_a_bad_change().await;
    let mut history = HistoryServiceClient::new(secured.as_principal("automation/write/ci"));
    let request = RollbackRequest {
        requested_by: "anna".to_owned(),
        reason: "carts are empty".to_owned(),
        ..RollbackRequest::default()
    };
    let answer = history.rollback(request).await.unwrap().into_inner();
    let cause = answer.snapshot.unwrap().cause;
    assert!(
        cause.contains("spiffe://tidegate.test/automation/write/ci"),
        "{cause}"
    );
}
