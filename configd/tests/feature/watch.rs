//! WatchObjects: every change arrives in order, and a watch goes on where the last one ended.

use tidegate_proto::objects::v1::object_event::Event;
use tidegate_proto::objects::v1::{WatchObjectsRequest, WatchObjectsResponse};
use tonic::{Code, Streaming};

use crate::bench::{Bench, SOURCE, delete, put, route, shop};
use crate::identities::refusal;

async fn watch(bench: &Bench, after: Option<u64>) -> Streaming<WatchObjectsResponse> {
    let request = WatchObjectsRequest {
        source: SOURCE.to_owned(),
        kind: "HTTPRoute".to_owned(),
        group: "gateway.networking.k8s.io".to_owned(),
        after_revision: after,
        ..WatchObjectsRequest::default()
    };
    let watch = bench.objects().watch_objects(request).await;
    watch.unwrap().into_inner()
}

/// The next events as "+name" and "-name", and the bookmark that they lead to.
async fn next(watch: &mut Streaming<WatchObjectsResponse>) -> (Vec<String>, u64) {
    let message = watch.message().await.unwrap().expect("the watch goes on");
    let event = |event: Event| match event {
        Event::Stored(stored) => format!("+{}", stored.object.unwrap().key.unwrap().name),
        Event::Deleted(deleted) => format!("-{}", deleted.key.unwrap().name),
    };
    let events = message.events.into_iter();
    let events = events.map(|found| event(found.event.unwrap())).collect();
    (events, message.revision)
}

#[tokio::test]
async fn a_watch_begins_with_what_is_stored_and_hears_every_change() {
    let (bench, _dir) = Bench::temporary().await;
    let shop = bench.apply(&shop()).await;
    let mut watch = watch(&bench, None).await;
    let stored = (vec!["+cart".to_owned()], shop.revision);
    assert_eq!(next(&mut watch).await, stored);
    let applied = bench.apply(&[route("b", "/")]).await;
    let stored = (vec!["+b".to_owned()], applied.revision);
    assert_eq!(next(&mut watch).await, stored);
    let gone = bench.try_apply(vec![delete(&route("b", "/"))]).await;
    let deleted = (vec!["-b".to_owned()], gone.unwrap().revision);
    assert_eq!(next(&mut watch).await, deleted);
}

#[tokio::test]
async fn a_watch_goes_on_after_a_restart_where_the_last_one_ended() {
    let (bench, dir) = Bench::temporary().await;
    let seen = bench.apply(&[route("a", "/"), route("b", "/")]).await;
    let gone = bench.try_apply(vec![delete(&route("a", "/"))]).await;
    gone.unwrap();
    let last = bench.apply(&[route("c", "/")]).await;
    bench.stop().await;
    let bench = Bench::start(dir.path()).await;
    let mut watch = watch(&bench, Some(seen.revision)).await;
    let missed = (vec!["-a".to_owned(), "+c".to_owned()], last.revision);
    assert_eq!(next(&mut watch).await, missed);
}

#[tokio::test]
async fn an_object_that_came_back_is_not_called_gone() {
    let (bench, _dir) = Bench::temporary().await;
    let seen = bench.apply(&[route("a", "/")]).await;
    let gone = bench.try_apply(vec![delete(&route("a", "/"))]).await;
    gone.unwrap();
    let back = bench.try_apply(vec![put(&route("a", "/back"))]).await;
    let mut watch = watch(&bench, Some(seen.revision)).await;
    let back = (vec!["+a".to_owned()], back.unwrap().revision);
    assert_eq!(next(&mut watch).await, back);
}

#[tokio::test]
async fn a_bookmark_comes_where_nothing_matches() {
    let (bench, _dir) = Bench::temporary().await;
    let mut watch = watch(&bench, None).await;
    assert_eq!(next(&mut watch).await, (vec![], 0));
    let other = bench.apply(&shop()[..1]).await;
    assert_eq!(next(&mut watch).await, (vec![], other.revision));
}

#[tokio::test]
async fn a_revision_that_nobody_has_is_out_of_range() {
    let (bench, _dir) = Bench::temporary().await;
    let request = WatchObjectsRequest {
        after_revision: Some(1_000_000),
        ..WatchObjectsRequest::default()
    };
    let refused = bench.objects().watch_objects(request).await;
    let unknown = (Code::OutOfRange, "REVISION_UNKNOWN".to_owned());
    assert_eq!(refusal(refused), unknown);
}
