//! The stream to a worker: ordered, whole, resumable, at most one version unanswered.

use std::time::Duration;

use tidegate_proto::snapshots::v1::{
    ListWorkersRequest, ResyncReason, SnapshotId, Update, subscribe_response,
};

use crate::bench::{Bench, FakeWorker, POOL, route, shop};

const MOMENT: Duration = Duration::from_millis(300);

fn version(update: &Update) -> u64 {
    update.info.as_ref().unwrap().id.as_ref().unwrap().version
}

#[tokio::test]
async fn a_new_worker_gets_everything_and_then_only_changes() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let first = worker.update().await.remove(0);
    assert_eq!(first.base_version, 0);
    assert_eq!(first.put.len(), 4, "listener, route, backend, endpoints");
    assert_eq!(first.blobs.len(), 4);
    worker.ack(&first).await;
    bench.apply(&[route("cart", "/basket")]).await;
    let second = worker.update().await.remove(0);
    assert_eq!(second.base_version, version(&first));
    assert_eq!((second.put.len(), second.blobs.len()), (1, 1));
}

#[tokio::test]
async fn nothing_is_sent_before_the_last_version_is_answered_then_the_newest() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let first = worker.update().await.remove(0);
    for path in ["/a", "/b", "/c"] {
        bench
            .compiled(bench.apply(&[route("cart", path)]).await.revision)
            .await;
    }
    assert!(worker.next_within(MOMENT).await.is_none());
    worker.ack(&first).await;
    let next = worker.update().await.remove(0);
    assert_eq!(version(&next), version(&first) + 3);
    assert_eq!(next.base_version, version(&first));
}

#[tokio::test]
async fn after_a_nack_the_next_version_builds_on_what_the_worker_has() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let first = worker.update().await.remove(0);
    worker.ack(&first).await;
    bench.apply(&[route("cart", "/refused")]).await;
    let refused = worker.update().await.remove(0);
    worker.nack(&refused).await;
    assert!(
        worker.next_within(MOMENT).await.is_none(),
        "a refused version is not sent again"
    );
    let workers = bench
        .snapshots()
        .list_workers(ListWorkersRequest::default())
        .await
        .unwrap();
    let workers = workers.into_inner().workers;
    assert!(workers[0].last_nack.is_some());
    assert_eq!(workers[0].serving, first.info.as_ref().unwrap().id);
    bench.apply(&[route("cart", "/better")]).await;
    let next = worker.update().await.remove(0);
    assert_eq!(next.base_version, version(&first));
}

#[tokio::test]
async fn a_reconnected_worker_gets_what_it_missed() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let first = worker.update().await.remove(0);
    worker.ack(&first).await;
    drop(worker);
    bench
        .compiled(bench.apply(&[route("cart", "/basket")]).await.revision)
        .await;
    let have = first.info.as_ref().unwrap().id.clone();
    let mut worker = FakeWorker::connect(&bench, "one", have).await;
    let missed = worker.update().await.remove(0);
    assert_eq!(missed.base_version, version(&first));
    assert_eq!(missed.put.len(), 1);
}

#[tokio::test]
async fn a_worker_with_an_unknown_version_is_told_to_start_over() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let digest = vec![7; 32].into();
    let have = SnapshotId {
        pool: POOL.to_owned(),
        version: 1,
        digest,
        ..SnapshotId::default()
    };
    let mut worker = FakeWorker::connect(&bench, "one", Some(have)).await;
    let subscribe_response::Message::Resync(resync) = worker.next().await else {
        panic!("a resync comes first")
    };
    assert_eq!(resync.reason(), ResyncReason::UnknownBase);
    assert_eq!(worker.update().await.remove(0).base_version, 0);
}
