//! ObjectService: what is stored, and what is refused with which words.

use serde_json::json;
use tidegate_proto::objects::v1::{
    ApplyMode, ApplyRequest, GetObjectRequest, ListObjectsRequest, Precondition, ResyncEnd,
    ResyncRequest, precondition,
};
use tonic::Code;

use crate::bench::{Bench, SOURCE, delete, invalid, key, object, put, route, shop};

#[tokio::test]
async fn what_was_applied_is_read_back() {
    let (bench, _dir) = Bench::temporary().await;
    let applied = bench.apply(&shop()).await;
    assert_eq!(applied.changed, 5);
    let request = GetObjectRequest {
        key: Some(key(&shop()[4])),
        ..GetObjectRequest::default()
    };
    let stored = bench
        .objects()
        .get_object(request)
        .await
        .unwrap()
        .into_inner()
        .object
        .unwrap();
    assert_eq!(stored.object, Some(object(&shop()[4])));
    assert_eq!(stored.revision, applied.revision);
}

#[tokio::test]
async fn the_same_batch_again_changes_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    let first = bench.apply(&shop()).await;
    let second = bench.apply(&shop()).await;
    assert_eq!((second.revision, second.changed), (first.revision, 0));
}

#[tokio::test]
async fn an_unknown_field_is_refused_with_object_and_field() {
    let (bench, _dir) = Bench::temporary().await;
    let mut typo = route("cart", "/cart");
    typo["spec"]["rules"][0]["matchs"] = json!([]);
    let message = invalid(bench.try_apply(vec![put(&typo)]).await.unwrap_err());
    assert!(message.contains("HTTPRoute shop/cart"), "{message}");
    assert!(message.contains("spec.rules[0].matchs"), "{message}");
}

#[tokio::test]
async fn one_bad_object_refuses_its_whole_batch() {
    let (bench, _dir) = Bench::temporary().await;
    let mut bad = route("bad", "/");
    bad["spec"]["rules"] = json!("none");
    bench
        .try_apply(vec![put(&route("good", "/")), put(&bad)])
        .await
        .unwrap_err();
    let request = ListObjectsRequest::default();
    let listed = bench
        .objects()
        .list_objects(request)
        .await
        .unwrap()
        .into_inner();
    assert!(listed.objects.is_empty());
}

#[tokio::test]
async fn a_five_megabyte_object_is_refused_with_its_size() {
    let (bench, _dir) = Bench::temporary().await;
    let mut large = route("large", "/");
    large["metadata"]["annotations"] = json!({"filler": "x".repeat(5 << 20)});
    let message = invalid(bench.try_apply(vec![put(&large)]).await.unwrap_err());
    assert!(message.contains("HTTPRoute shop/large has 52"), "{message}");
}

#[tokio::test]
async fn content_under_another_objects_key_is_refused() {
    let (bench, _dir) = Bench::temporary().await;
    let mut forged = put(&route("a", "/"));
    let Some(tidegate_proto::objects::v1::operation::Operation::Put(object)) =
        &mut forged.operation
    else {
        unreachable!("it was put")
    };
    object.key.as_mut().unwrap().name = "b".to_owned();
    let message = invalid(bench.try_apply(vec![forged]).await.unwrap_err());
    assert!(
        message.contains("its content says HTTPRoute shop/a"),
        "{message}"
    );
}

#[tokio::test]
async fn a_dry_run_checks_but_does_not_store() {
    let (bench, _dir) = Bench::temporary().await;
    let request = ApplyRequest {
        source: SOURCE.to_owned(),
        operations: vec![put(&route("cart", "/"))],
        mode: ApplyMode::DryRun.into(),
        ..ApplyRequest::default()
    };
    bench.objects().apply(request).await.unwrap();
    let request = GetObjectRequest {
        key: Some(key(&route("cart", "/"))),
        ..GetObjectRequest::default()
    };
    let missing = bench.objects().get_object(request).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn a_failed_precondition_stores_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    bench.apply(&[route("cart", "/")]).await;
    let mut second = put(&route("cart", "/other"));
    second.precondition = Some(Precondition {
        condition: Some(precondition::Condition::Absent(true)),
    });
    let refusal = bench
        .try_apply(vec![put(&route("new", "/")), second])
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(
        refusal.message().contains("HTTPRoute shop/cart"),
        "{}",
        refusal.message()
    );
    let request = GetObjectRequest {
        key: Some(key(&route("new", "/"))),
        ..GetObjectRequest::default()
    };
    assert!(bench.objects().get_object(request).await.is_err());
}

#[tokio::test]
async fn a_retried_request_answers_as_the_first() {
    let (bench, _dir) = Bench::temporary().await;
    let request = |operation| ApplyRequest {
        source: SOURCE.to_owned(),
        operations: vec![operation],
        request_id: "retry-1".to_owned(),
        ..ApplyRequest::default()
    };
    let first = bench
        .objects()
        .apply(request(put(&route("a", "/"))))
        .await
        .unwrap()
        .into_inner();
    bench
        .try_apply(vec![delete(&route("a", "/"))])
        .await
        .unwrap();
    let again = bench
        .objects()
        .apply(request(put(&route("a", "/"))))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    let request = GetObjectRequest {
        key: Some(key(&route("a", "/"))),
        ..GetObjectRequest::default()
    };
    assert!(
        bench.objects().get_object(request).await.is_err(),
        "the retry stored nothing"
    );
}

#[tokio::test]
async fn a_resync_removes_what_the_set_does_not_have() {
    let (bench, _dir) = Bench::temporary().await;
    bench
        .apply(&[route("stays", "/"), route("goes", "/")])
        .await;
    let set = ResyncRequest {
        source: SOURCE.to_owned(),
        objects: vec![object(&route("stays", "/")), object(&route("comes", "/"))],
        end: Some(ResyncEnd { objects: 2 }),
        ..ResyncRequest::default()
    };
    let answer = bench
        .objects()
        .resync(tokio_stream::iter([set]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.put, answer.deleted), (1, 1));
    let listed = bench
        .objects()
        .list_objects(ListObjectsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let names: Vec<String> = listed
        .objects
        .into_iter()
        .map(|stored| stored.object.unwrap().key.unwrap().name)
        .collect();
    assert_eq!(names, ["comes", "stays"]);
}

#[tokio::test]
async fn pages_together_hold_every_object_once() {
    let (bench, _dir) = Bench::temporary().await;
    let routes: Vec<_> = (0..25)
        .map(|index| route(&format!("r{index:02}"), "/"))
        .collect();
    bench.apply(&routes).await;
    let (mut names, mut page_token) = (vec![], String::new());
    loop {
        let request = ListObjectsRequest {
            page_size: 10,
            page_token,
            ..Default::default()
        };
        let page = bench
            .objects()
            .list_objects(request)
            .await
            .unwrap()
            .into_inner();
        names.extend(
            page.objects
                .into_iter()
                .map(|o| o.object.unwrap().key.unwrap().name),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).map(|index| format!("r{index:02}")).collect();
    assert_eq!(names, expected);
}
