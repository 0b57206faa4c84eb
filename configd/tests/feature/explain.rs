//! What workers would do, asked of a configd.

use tidegate_proto::explain::v1::explain_route_request::Arrives;
use tidegate_proto::explain::v1::explain_service_client::ExplainServiceClient;
use tidegate_proto::explain::v1::{
    CandidateVerdict, ExplainRouteRequest, GetCoverageRequest, Header, ListenerVerdict, Request,
};
use tidegate_proto::plans::v1::CreatePlanRequest;
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::bench::{Bench, SOURCE, put, route, shop};

fn get(path: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        host: "shop.test".to_owned(),
        path: path.to_owned(),
        ..Request::default()
    }
}

fn at(port: u32, request: Request) -> ExplainRouteRequest {
    ExplainRouteRequest {
        port,
        arrives: Some(Arrives::Request(request)),
        ..ExplainRouteRequest::default()
    }
}

async fn shop_is_open(bench: &Bench) -> ExplainServiceClient<Channel> {
    bench.compiled(bench.apply(&shop()).await.revision).await;
    ExplainServiceClient::new(bench.channel.clone())
}

#[tokio::test]
async fn a_request_is_explained_from_listener_to_addresses_in_any_version() {
    let (bench, _dir) = Bench::temporary().await;
    let mut explain = shop_is_open(&bench).await;
    let later = bench.apply(&[route("basket", "/basket")]).await;
    bench.compiled(later.revision).await;

    let answer = explain.explain_route(at(80, get("/basket/1?size=2"))).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(answer.snapshot.unwrap().id.unwrap().version, 2);
    let listener = &answer.listeners[0];
    assert_eq!(listener.verdict(), ListenerVerdict::Chosen, "{listener:?}");
    let candidates = answer.candidates.iter();
    let tried: Vec<_> = candidates
        .map(|one| (one.rule.clone().unwrap().route, one.verdict()))
        .collect();
    let expected = [
        ("shop/basket".to_owned(), CandidateVerdict::Won),
        ("shop/cart".to_owned(), CandidateVerdict::Lost),
    ];
    assert_eq!(tried, expected);
    let share = &answer.outcome.unwrap().shares[0];
    assert_eq!(
        (share.percent, &*share.backend),
        (100.0, "Service shop/cart port 80")
    );
    assert_eq!(share.addresses, ["127.0.0.1:3000"]);

    let before = ExplainRouteRequest {
        version: 1,
        ..at(80, get("/basket"))
    };
    let answer = explain.explain_route(before).await.unwrap().into_inner();
    assert_eq!(answer.outcome.unwrap().answer, "404: no rule matches");
}

#[tokio::test]
async fn a_question_without_an_answer_says_which_field_or_port() {
    let (bench, _dir) = Bench::temporary().await;
    let mut explain = shop_is_open(&bench).await;
    let refusal = explain.explain_route(at(81, get("/"))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound, "{refusal:?}");
    assert!(refusal.message().contains("there are 80"), "{refusal:?}");
    let header = Header {
        name: "two words".to_owned(),
        value: String::new(),
    };
    let wrong = Request {
        headers: vec![header],
        ..get("/")
    };
    for (question, field) in [
        (at(80, wrong), "request.headers[0].name"),
        (at(80, get("no-slash")), "request.path"),
        (ExplainRouteRequest::default(), "arrives"),
    ] {
        let refusal = explain.explain_route(question).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal:?}");
        let details = refusal.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
}

#[tokio::test]
async fn the_rules_that_nothing_reaches_are_listed_with_what_comes_before_them() {
    let (bench, _dir) = Bench::temporary().await;
    let mut explain = shop_is_open(&bench).await;
    let twice = bench.apply(&[route("later", "/cart")]).await;
    bench.compiled(twice.revision).await;
    let answer = explain.get_coverage(GetCoverageRequest::default()).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!((answer.looked_at, answer.unreachable_total), (2, 1));
    let found = &answer.unreachable[0];
    let name = |rule: &Option<_>| {
        let rule: tidegate_proto::explain::v1::RuleName = rule.clone().unwrap();
        format!("{} {} ({})", rule.kind, rule.route, rule.conditions)
    };
    assert_eq!(
        name(&found.rule),
        "HTTPRoute shop/later (path prefix /cart)"
    );
    assert_eq!(name(&found.by), "HTTPRoute shop/cart (path prefix /cart)");
    assert!(found.whole_rule);
    assert_eq!(found.listener, "shop/web/http");
}

#[tokio::test]
async fn a_request_is_explained_as_it_would_be_answered_after_a_plan() {
    let (bench, _dir) = Bench::temporary().await;
    let mut explain = shop_is_open(&bench).await;
    let planned = CreatePlanRequest {
        source: SOURCE.to_owned(),
        operations: vec![put(&route("cart", "/basket"))],
        reason: "a test".to_owned(),
    };
    let planned = bench.plans().create_plan(planned).await.unwrap();
    let plan = planned.into_inner().plan.unwrap().info.unwrap().id;
    let after = |path: &str| ExplainRouteRequest {
        plan: plan.clone(),
        ..at(80, get(path))
    };

    let answer = explain.explain_route(after("/basket")).await.unwrap();
    let answer = answer.into_inner();
    assert!(answer.snapshot.is_none(), "nothing was committed");
    assert_eq!(answer.candidates[0].verdict(), CandidateVerdict::Won);
    let share = &answer.outcome.unwrap().shares[0];
    assert_eq!(share.addresses, ["127.0.0.1:3000"]);
    let answer = explain.explain_route(after("/cart")).await.unwrap();
    let outcome = answer.into_inner().outcome.unwrap();
    assert_eq!(outcome.answer, "404: no rule matches");
    let now = explain.explain_route(at(80, get("/cart"))).await.unwrap();
    assert_eq!(
        now.into_inner().outcome.unwrap().shares.len(),
        1,
        "nothing is changed"
    );

    let both = ExplainRouteRequest {
        version: 1,
        ..after("/cart")
    };
    let refusal = explain.explain_route(both).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    let other = ExplainRouteRequest {
        pool: "other".to_owned(),
        ..after("/cart")
    };
    let refusal = explain.explain_route(other).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound, "{refusal}");
    let unknown = ExplainRouteRequest {
        plan: "0".repeat(16),
        ..at(80, get("/cart"))
    };
    let refusal = explain.explain_route(unknown).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound, "{refusal}");
    bench.apply(&[route("basket", "/other")]).await;
    let refusal = explain.explain_route(after("/basket")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    assert!(refusal.message().contains("make a new plan"), "{refusal}");
}
