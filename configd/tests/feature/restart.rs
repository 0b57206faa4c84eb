//! What was acknowledged is there after a restart, and versions go on where they were.

use crate::bench::{Bench, FakeWorker, route, shop};

#[tokio::test]
async fn a_restarted_configd_has_objects_history_and_head() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path()).await;
    let before = bench.compiled(bench.apply(&shop()).await.revision).await;
    bench.stop().await;

    let bench = Bench::start(dir.path()).await;
    let after = bench.compiled(before.revision).await;
    assert_eq!(after, before, "equal bytes are no new version");
    let next = bench
        .compiled(bench.apply(&[route("cart", "/basket")]).await.revision)
        .await;
    assert_eq!(next.parent, before.id.unwrap().version);
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    assert_eq!(update.info.unwrap().id, next.id);
    bench.stop().await;
}
