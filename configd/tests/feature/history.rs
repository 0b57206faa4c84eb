//! Snapshots have versions, parents, causes and differences.

use tidegate_proto::snapshots::v1::{
    ChangeType, DiffSnapshotsRequest, GetSnapshotRequest, ListSnapshotsRequest,
};
use tonic::Code;

use crate::bench::{Bench, POOL, route, shop};

#[tokio::test]
async fn a_change_is_one_version_on_its_parent_with_its_cause() {
    let (bench, _dir) = Bench::temporary().await;
    let first = bench.compiled(bench.apply(&shop()).await.revision).await;
    let second = bench
        .compiled(bench.apply(&[route("cart", "/basket")]).await.revision)
        .await;
    let version =
        |info: &tidegate_proto::snapshots::v1::SnapshotInfo| info.id.clone().unwrap().version;
    assert_eq!(version(&second), version(&first) + 1);
    assert_eq!(second.parent, version(&first));
    assert_eq!(second.cause, "HTTPRoute shop/cart");
    let request = ListSnapshotsRequest {
        pool: POOL.to_owned(),
        ..Default::default()
    };
    let listed = bench
        .snapshots()
        .list_snapshots(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.snapshots, [second, first]);
}

#[tokio::test]
async fn a_change_that_compiles_to_the_same_bytes_is_no_version() {
    let (bench, _dir) = Bench::temporary().await;
    let before = bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut unrelated = route("cart", "/cart");
    unrelated["metadata"]["annotations"] = serde_json::json!({"note": "nobody reads this"});
    let after = bench
        .compiled(bench.apply(&[unrelated]).await.revision)
        .await;
    assert_eq!(before.id, after.id);
}

#[tokio::test]
async fn a_diff_names_part_and_field() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    bench
        .compiled(bench.apply(&[route("cart", "/basket")]).await.revision)
        .await;
    let request = DiffSnapshotsRequest::default();
    let diff = bench
        .snapshots()
        .diff_snapshots(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(diff.changes.len(), 1);
    let change = &diff.changes[0];
    assert_eq!(change.part.as_ref().unwrap().name, "HTTPRoute/shop/cart");
    assert_eq!(change.r#type(), ChangeType::Modified);
    assert_eq!(change.fields.len(), 1);
    assert_eq!(change.fields[0].field, "matches");
    assert_eq!(change.fields[0].before, "/cart/*");
    assert_eq!(change.fields[0].after, "/basket/*");
}

#[tokio::test]
async fn a_version_that_never_was_is_not_found() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let request = GetSnapshotRequest {
        pool: POOL.to_owned(),
        version: 99,
    };
    let refusal = bench.snapshots().get_snapshot(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert!(
        refusal.message().contains("the newest is"),
        "{}",
        refusal.message()
    );
}
