//! Writers learn when their change is compiled and served, and why it is not.

use std::time::Duration;

use tidegate_proto::history::v1::FreezeRequest;
use tidegate_proto::ir::v1::PartKey;
use tidegate_proto::objects::v1::{ApplyRequest, ApplyResponse, WaitFor};
use tidegate_proto::snapshots::v1::{Problem, WaitRequest, WaitResponse};
use tonic::{Code, Status};

use crate::bench::{Bench, FakeWorker, POOL, SOURCE, put, route, shop};

impl Bench {
    async fn wait(&self, revision: u64, timeout_ms: u32) -> Result<WaitResponse, Status> {
        let request = WaitRequest {
            revision,
            timeout_ms,
            ..WaitRequest::default()
        };
        let answer = self.snapshots().wait(request).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn apply_and_wait(&self, wait_for: WaitFor, wait_timeout_ms: u32) -> ApplyResponse {
        let request = ApplyRequest {
            source: SOURCE.to_owned(),
            operations: shop().iter().map(put).collect(),
            wait_for: wait_for.into(),
            wait_timeout_ms,
            ..ApplyRequest::default()
        };
        self.objects().apply(request).await.unwrap().into_inner()
    }
}

#[tokio::test]
async fn a_write_that_waits_for_compilation_reads_its_own_statuses() {
    let (bench, _dir) = Bench::temporary().await;
    let applied = bench.apply_and_wait(WaitFor::Compiled, 0).await;
    assert_eq!(
        (applied.reached(), &*applied.pending),
        (WaitFor::Compiled, "")
    );
    let status = bench.status("Gateway", "web").await;
    assert!(status["conditions"].is_array(), "{status}");
}

#[tokio::test]
async fn a_write_that_nobody_serves_says_how_far_it_came() {
    let (bench, _dir) = Bench::temporary().await;
    let applied = bench.apply_and_wait(WaitFor::Converged, 500).await;
    assert!(applied.reached() < WaitFor::Converged);
    assert!(!applied.pending.is_empty());
    assert_eq!(applied.changed, 5, "it is stored all the same");
}

#[tokio::test]
async fn a_wait_ends_when_the_last_worker_serves_the_change() {
    let (bench, _dir) = Bench::temporary().await;
    let revision = bench.apply(&shop()).await.revision;
    let (mut one, mut two) = (
        FakeWorker::connect(&bench, "one", None).await,
        FakeWorker::connect(&bench, "two", None).await,
    );
    let update = one.update().await.remove(0);
    one.ack(&update).await;
    let late = bench.wait(revision, 300).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(late.message().contains("two serves 0"), "{late}");

    let answers = async {
        let update = two.update().await.remove(0);
        two.ack(&update).await;
    };
    let (reached, ()) = tokio::join!(bench.wait(revision, 20_000), answers);
    let newest = reached.unwrap().newest.remove(0).id.unwrap();
    assert_eq!((&*newest.pool, newest.version), (POOL, 1));
}

#[tokio::test]
async fn a_wait_for_a_version_that_a_worker_refuses_ends_at_once_and_names_the_part() {
    let (bench, _dir) = Bench::temporary().await;
    let revision = bench.apply(&shop()).await.revision;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    let part = PartKey {
        kind: 2,
        name: "HTTPRoute/shop/cart".to_owned(),
    };
    let problem = Problem {
        part: Some(part),
        message: "no such backend".to_owned(),
    };
    worker.refuse(&update, vec![problem]).await;
    let limit = Duration::from_secs(20);
    let refused = tokio::time::timeout(limit, bench.wait(revision, 600_000)).await;
    let refused = refused
        .expect("it does not wait for the timeout")
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let said =
        "worker one of pool default refuses snapshot 1: Route HTTPRoute/shop/cart: no such backend";
    assert_eq!(refused.message(), said);
}

#[tokio::test]
async fn a_change_that_a_frozen_pool_does_not_take_is_not_waited_for() {
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
    let change = bench.apply(&[route("cart", "/basket")]).await;
    let refusal = bench.wait(change.revision, 20_000).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    bench.wait(0, 20_000).await.unwrap();
}

#[tokio::test]
async fn a_wait_has_a_bound() {
    let (bench, _dir) = Bench::temporary().await;
    let refusal = bench.wait(0, 600_001).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
}
