//! A plan says what would change, changes nothing, and is done only on the objects that it was made for.

use tidegate_proto::objects::v1::{GetObjectRequest, Operation, WaitFor};
use tidegate_proto::plans::v1::{
    ApplyPlanRequest, ApplyPlanResponse, CreatePlanRequest, GetPlanRequest, ListPlansRequest, Plan,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::bench::{Bench, SOURCE, delete, invalid, key, put, route, shop};

impl Bench {
    async fn plan(&self, operations: Vec<Operation>) -> Result<Plan, Status> {
        let request = CreatePlanRequest {
            source: SOURCE.to_owned(),
            operations,
            reason: "a test".to_owned(),
        };
        let answer = self.plans().create_plan(request).await?;
        Ok(answer.into_inner().plan.unwrap())
    }

    async fn apply_plan(&self, plan: &Plan) -> Result<ApplyPlanResponse, Status> {
        let request = ApplyPlanRequest {
            id: plan.info.clone().unwrap().id,
            wait_for: WaitFor::Compiled.into(),
            ..ApplyPlanRequest::default()
        };
        let answer = self.plans().apply_plan(request).await;
        answer.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn a_plan_says_which_parts_would_change_and_changes_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    let applied = bench.apply(&shop()).await;
    let before = bench.compiled(applied.revision).await;
    let plan = bench
        .plan(vec![put(&route("cart", "/basket"))])
        .await
        .unwrap();
    let info = plan.info.clone().unwrap();
    assert_eq!((info.base_revision, info.operations), (applied.revision, 1));
    assert_eq!(plan.pools.len(), 1);
    let change = &plan.pools[0].changes[0];
    assert_eq!(change.part.as_ref().unwrap().name, "HTTPRoute/shop/cart");
    assert_eq!(change.fields[0].after, "/basket/*");
    assert_eq!(bench.newest().await, before);
    let stored = GetObjectRequest {
        key: Some(key(&route("cart", ""))),
        ..GetObjectRequest::default()
    };
    let stored = bench
        .objects()
        .get_object(stored)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stored.object.unwrap().revision, applied.revision);
}

#[tokio::test]
async fn a_plan_says_what_would_become_of_statuses_and_remarks() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let service = &shop()[2];
    let plan = bench.plan(vec![delete(service)]).await.unwrap();
    let route = plan.statuses.iter().find(|change| {
        let key = change.key.as_ref().unwrap();
        key.kind == "HTTPRoute" && key.name == "cart"
    });
    let after = String::from_utf8(route.unwrap().after.to_vec()).unwrap();
    assert!(after.contains("BackendNotFound"), "{after}");
    assert!(!plan.added.is_empty(), "the missing Service is remarked");
    assert!(plan.resolved.is_empty());
}

#[tokio::test]
async fn a_plan_is_carried_out_as_it_was_shown_and_a_second_time_does_nothing() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let plan = bench
        .plan(vec![put(&route("cart", "/basket"))])
        .await
        .unwrap();
    let done = bench.apply_plan(&plan).await.unwrap();
    assert_eq!((done.changed, done.reached()), (1, WaitFor::Compiled));
    assert_eq!(bench.newest().await.cause, "HTTPRoute shop/cart");
    assert_eq!(bench.apply_plan(&plan).await.unwrap(), done);
}

#[tokio::test]
async fn a_plan_whose_objects_have_moved_on_is_refused() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let plan = bench
        .plan(vec![put(&route("cart", "/basket"))])
        .await
        .unwrap();
    bench.apply(&[route("other", "/other")]).await;
    let refusal = bench.apply_plan(&plan).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    let details = refusal.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "BASE_MOVED");
}

#[tokio::test]
async fn plans_are_listed_and_unknown_ones_are_not_found() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let plan = bench
        .plan(vec![put(&route("cart", "/basket"))])
        .await
        .unwrap();
    let listed = bench.plans().list_plans(ListPlansRequest {}).await.unwrap();
    assert_eq!(listed.into_inner().plans, [plan.info.clone().unwrap()]);
    let request = GetPlanRequest {
        id: plan.info.clone().unwrap().id,
    };
    let found = bench.plans().get_plan(request).await.unwrap().into_inner();
    assert_eq!(found.plan, Some(plan));
    let unknown = GetPlanRequest {
        id: "none".to_owned(),
    };
    let refusal = bench.plans().get_plan(unknown).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
}

#[tokio::test]
async fn a_plan_of_broken_objects_is_refused_with_object_and_field() {
    let (bench, _dir) = Bench::temporary().await;
    let mut bad = route("bad", "/");
    bad["spec"]["rules"] = serde_json::json!("none");
    let message = invalid(bench.plan(vec![put(&bad)]).await.unwrap_err());
    assert!(message.contains("HTTPRoute shop/bad"), "{message}");
}
