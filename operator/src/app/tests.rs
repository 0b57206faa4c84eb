//! The operator through its ends: a fake API server on one side, a fake configd on the other.

mod api_server;
mod configd;
mod parameters;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_runtime::drain::Drain;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;

use self::api_server::ApiServer;
use self::configd::FakeConfigd;
use super::*;

const CONTROLLER: &str = "tidegate.dev/gateway-controller";
const GATEWAYS: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/infra/gateways";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes";
const CLASSES: &str = "/apis/gateway.networking.k8s.io/v1/gatewayclasses";
const ACCOUNTS: &str = "/api/v1/namespaces/tidegate-system/serviceaccounts";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/infra/deployments";
const SERVICES: &str = "/api/v1/namespaces/infra/services";

/// An operator between the two.
struct World {
    api: ApiServer,
    configd: FakeConfigd,
    drain: Drain,
}

impl World {
    async fn start(api: ApiServer) -> Self {
        let account =
            json!({"metadata": {"name": "tidegate-operator", "uid": "uid-of-the-account"}});
        api.put(ACCOUNTS, account);
        let configd = FakeConfigd::start().await;
        let drain = Drain::new(Duration::from_secs(5));
        let options = OperatorOptions {
            client: api.client(),
            configds: Configds::from(vec![configd.channel.clone()]),
            source: "eu-1".to_owned(),
            source_lease: Duration::from_secs(60),
            name: "operator-0".to_owned(),
            lease: Some(LeaseOptions {
                namespace: "tidegate-system".to_owned(),
                name: "tidegate-operator".to_owned(),
                owner: Some("tidegate-operator".to_owned()),
            }),
            pools: PoolSettings {
                controller: CONTROLLER.into(),
                image: "tidegate.dev/tidegate:test".to_owned(),
                configd: "http://configd:15010".to_owned(),
                issuer: None,
            },
        };
        let metrics = Metrics::new("tidegate", "operator", "test");
        start(options, &metrics, &Readiness::new(), &drain)
            .await
            .expect("the API server answers");
        Self {
            api,
            configd,
            drain,
        }
    }

    async fn stop(self) {
        self.drain.start("the test is over");
        self.drain.finish().await;
    }
}

fn class() -> Value {
    json!({
        "metadata": {"name": "tidegate", "uid": "c", "generation": 1},
        "spec": {"controllerName": CONTROLLER},
    })
}

fn gateway() -> Value {
    gateway_called("web", "g")
}

fn gateway_called(name: &str, uid: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "infra", "uid": uid, "generation": 1},
        "spec": {
            "gatewayClassName": "tidegate",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    })
}

fn route(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1},
        "spec": {"parentRefs": [{"name": "web", "namespace": "infra"}]},
    })
}

fn condition(type_: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": type_, "message": "", "observedGeneration": 1})
}

#[tokio::test]
async fn a_session_begins_with_the_full_set_and_follows_each_change() {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    api.put(GATEWAYS, gateway());
    let secret =
        |name: &str| json!({"metadata": {"name": name, "namespace": "infra", "uid": name}});
    api.put("/api/v1/namespaces/infra/secrets", secret("nobodys"));
    let world = World::start(api).await;
    let first = world.configd.until(|state| !state.objects.is_empty()).await;
    let names: Vec<_> = first.objects.keys().map(String::as_str).collect();
    assert!(names.contains(&"Gateway infra/web"), "{names:?}");
    assert!(!names.contains(&"Secret infra/nobodys"), "{names:?}");
    assert_eq!(first.incarnation, "uid-of-kube-system");

    world.api.put(ROUTES, route("cart"));
    let has = |state: &configd::State, name: &str| state.objects.contains_key(name);
    world
        .configd
        .until(|state| has(state, "HTTPRoute shop/cart"))
        .await;

    let mut listening = gateway();
    let tls = json!({"certificateRefs": [{"name": "nobodys"}]});
    listening["spec"]["listeners"][0]["tls"] = tls;
    world.api.put(GATEWAYS, listening);
    world
        .configd
        .until(|state| has(state, "Secret infra/nobodys"))
        .await;

    world.api.delete(ROUTES, "cart");
    let last = world
        .configd
        .until(|state| !has(state, "HTTPRoute shop/cart"))
        .await;
    assert_eq!(last.sessions, 1, "one session has carried all of it");
    world.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_deleted_while_something_names_it_stays_as_it_was() {
    const SECRETS: &str = "/api/v1/namespaces/infra/secrets";
    let secret = || {
        json!({
            "metadata": {"name": "cert", "namespace": "infra", "uid": "s"},
            "type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": "Yg=="},
        })
    };
    let api = ApiServer::new();
    api.put(CLASSES, class());
    let mut listening = gateway();
    listening["spec"]["listeners"][0]["tls"] = json!({"certificateRefs": [{"name": "cert"}]});
    api.put(GATEWAYS, listening);
    api.put(SECRETS, secret());
    let world = World::start(api).await;
    let found = |state: &configd::State| {
        let secret = state.objects.get("Secret infra/cert")?;
        serde_json::from_slice::<Value>(&secret.content).ok()
    };
    world.configd.until(|state| found(state).is_some()).await;

    world.api.delete(SECRETS, "cert");
    let is_marked = |state: &configd::State| {
        let mark = json!("true");
        let is_marked =
            |secret: &Value| secret["metadata"]["annotations"]["tidegate.dev/deleted"] == mark;
        found(state).is_some_and(|secret| is_marked(&secret))
    };
    let state = world.configd.until(is_marked).await;
    let kept = found(&state).expect("it is there");
    assert_eq!(kept["data"], secret()["data"]);
    // A configd that has lost it gets it again.
    world.configd.forget();
    world.api.put(ROUTES, route("cart"));
    world.configd.until(is_marked).await;

    world.api.put(SECRETS, secret());
    let is_whole = |state: &configd::State| found(state).is_some() && !is_marked(state);
    world.configd.until(is_whole).await;
    world.api.delete(SECRETS, "cert");
    world.configd.until(is_marked).await;
    world.api.put(GATEWAYS, gateway());
    world.configd.until(|state| found(state).is_none()).await;
    world.stop().await;
}

#[tokio::test]
async fn an_object_that_configd_refuses_keeps_nothing_else_back() {
    let api = ApiServer::new();
    api.put(ROUTES, route("refused-at-first"));
    api.put(ROUTES, route("cart"));
    let world = World::start(api).await;
    let has = |state: &configd::State, name: &str| state.objects.contains_key(name);
    world
        .configd
        .until(|state| has(state, "HTTPRoute shop/cart"))
        .await;
    world.api.put(ROUTES, route("refused-later"));
    world.api.put(ROUTES, route("other"));
    let state = world
        .configd
        .until(|state| has(state, "HTTPRoute shop/other"))
        .await;
    assert!(!has(&state, "HTTPRoute shop/refused-at-first"));
    assert!(!has(&state, "HTTPRoute shop/refused-later"));
    let event = |object: &Value| object["reason"] == "Refused";
    world
        .api
        .until("/apis/events.k8s.io/v1/namespaces/shop/events", event)
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_lost_configd_is_fed_again_in_a_new_session() {
    let api = ApiServer::new();
    api.put(ROUTES, route("cart"));
    let world = World::start(api).await;
    world.configd.until(|state| !state.objects.is_empty()).await;
    world.configd.forget();
    world.api.put(ROUTES, route("other"));
    let state = world.configd.until(|state| state.objects.len() >= 2).await;
    assert!(state.sessions >= 2);
    assert!(state.objects.contains_key("HTTPRoute shop/cart"));
    world.stop().await;
}

#[tokio::test]
async fn a_status_is_written_beside_those_of_others() {
    let api = ApiServer::new();
    let mut cart = route("cart");
    let foreign = json!({
        "controllerName": "example.com/other", "parentRef": {"name": "web"}, "conditions": [],
    });
    cart["status"] = json!({"parents": [foreign]});
    api.put(ROUTES, cart);
    let world = World::start(api).await;
    world.configd.until(|state| !state.objects.is_empty()).await;
    let parent = json!({"name": "web", "namespace": "infra"});
    let own = json!({
        "controllerName": CONTROLLER, "parentRef": parent, "conditions": [condition("Accepted")],
    });
    let status = json!({"parents": [own]});
    world
        .configd
        .say("HTTPRoute", "shop", "cart", "cart", &status);
    let written = world
        .api
        .until(ROUTES, |route| route["status"]["parents"][1].is_object())
        .await;
    assert_eq!(written["status"]["parents"][0], foreign);
    let since = &written["status"]["parents"][1]["conditions"][0]["lastTransitionTime"];
    assert!(since.is_string(), "{written}");
    let writes = world.api.writes();
    // The same again is no reason to write.
    world
        .configd
        .say("HTTPRoute", "shop", "cart", "cart", &status);
    world
        .configd
        .say("HTTPRoute", "shop", "none", "none", &json!({}));
    world.api.put(ROUTES, route("other"));
    let has_other = |state: &configd::State| state.objects.contains_key("HTTPRoute shop/other");
    world.configd.until(has_other).await;
    assert_eq!(world.api.writes(), writes);
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_gets_workers_and_the_address_of_its_service() {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    api.put(GATEWAYS, gateway());
    let world = World::start(api).await;
    let accepted = json!({"conditions": [condition("Accepted")]});
    world.configd.say("Gateway", "infra", "web", "g", &accepted);
    let deployment = world.api.until(DEPLOYMENTS, |_| true).await;
    assert_eq!(deployment["metadata"]["name"], "web-tidegate");
    let class = world
        .api
        .until(CLASSES, |class| class["metadata"]["finalizers"].is_array())
        .await;
    let finalizer = &class["metadata"]["finalizers"][0];
    assert_eq!(
        finalizer,
        "gateway-exists-finalizer.gateway.networking.k8s.io"
    );
    let status = json!({"conditions": [condition("Accepted"), condition("Programmed")]});
    world.configd.say("Gateway", "infra", "web", "g", &status);
    let reason = |gateway: &Value| gateway["status"]["conditions"][1]["reason"].clone();
    world
        .api
        .until(GATEWAYS, |gateway| reason(gateway) == "AddressNotAssigned")
        .await;

    let mut service = world.api.until(SERVICES, |_| true).await;
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    world.api.put(SERVICES, service);
    let gateway = world
        .api
        .until(GATEWAYS, |gateway| reason(gateway) == "Programmed")
        .await;
    let address = json!([{"type": "IPAddress", "value": "192.0.2.7"}]);
    assert_eq!(gateway["status"]["addresses"], address);

    world.api.delete(SERVICES, "web-tidegate");
    world.api.until(SERVICES, |_| true).await;
    world.stop().await;
}

#[tokio::test]
async fn the_lease_goes_with_the_service_account() {
    let api = ApiServer::new();
    let world = World::start(api).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases";
    let lease = world.api.until(leases, |_| true).await;
    let owner = &lease["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "ServiceAccount");
    assert_eq!(owner["uid"], "uid-of-the-account");
    world.stop().await;
}

#[tokio::test]
async fn an_installation_retires_when_no_gateway_needs_it() {
    let api = ApiServer::new();
    let mut used = class();
    used["metadata"]["finalizers"] = json!([
        "gateway-exists-finalizer.gateway.networking.k8s.io",
        "example.com/own"
    ]);
    api.put(CLASSES, used);
    api.put(GATEWAYS, gateway());
    let client = api.client();
    let retire = || crate::retire::retire(&client, CONTROLLER, Duration::from_secs(60));
    let refused = retire().await.expect_err("a Gateway has the class");
    let refused = refused.to_string();
    assert!(refused.contains("infra/web"), "{refused}");
    assert_eq!(api.writes(), 0);

    let mut going = gateway();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-30T08:00:00Z");
    api.put(GATEWAYS, going);
    let (retired, ()) = tokio::join!(retire(), async { api.delete(GATEWAYS, "web") });
    retired.expect("nobody needs it");
    let class = api.until(CLASSES, |_| true).await;
    assert_eq!(class["metadata"]["finalizers"], json!(["example.com/own"]));
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    api.put(GATEWAYS, gateway());
    let foreign = json!({"metadata": {"name": "web-tidegate", "namespace": "infra", "uid": "f"}});
    let accounts = "/api/v1/namespaces/infra/serviceaccounts";
    api.put(accounts, foreign);
    let world = World::start(api).await;
    let accepted = json!({"conditions": [condition("Accepted")]});
    world.configd.say("Gateway", "infra", "web", "g", &accepted);
    let events = "/apis/events.k8s.io/v1/namespaces/infra/events";
    let event = world
        .api
        .until(events, |event| event["reason"] == "PoolNotApplied")
        .await;
    let note = event["note"].as_str().unwrap_or_default();
    assert!(note.contains("ServiceAccount web-tidegate"), "{note}");
    let account = world.api.until(accounts, |_| true).await;
    assert_eq!(account["metadata"]["uid"], "f");
    assert!(account["metadata"]["ownerReferences"].is_null());
    world.stop().await;
}

/// The uids of an object's owners.
fn owners(object: &Value) -> Vec<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let uids = owners
        .into_iter()
        .flatten()
        .map(|owner| owner["uid"].as_str());
    uids.map(Option::unwrap_or_default).collect()
}

fn target(service: &Value) -> &Value {
    &service["spec"]["ports"][0]["targetPort"]
}

fn accepted() -> Value {
    json!({"conditions": [condition("Accepted")]})
}

/// Two Gateways that share workers.
async fn shared_world() -> World {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    api.put(GATEWAYS, gateway());
    api.put(GATEWAYS, gateway_called("api", "h"));
    let world = World::start(api).await;
    let said = accepted();
    world.configd.say_shared(("web", "g"), &said, 12_001);
    world.configd.say_shared(("api", "h"), &said, 12_002);
    world
}

#[tokio::test]
async fn gateways_that_share_workers_have_addresses_of_their_own() {
    let world = shared_world().await;
    let both = |deployment: &Value| owners(deployment) == ["h", "g"];
    let deployment = world.api.until(DEPLOYMENTS, both).await;
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("shared-tidegate-"), "{name}");
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let args = args.as_array().expect("there are arguments");
    assert!(args.contains(&json!("infra/shared_tidegate")), "{args:?}");
    for (gateway, port) in [("web-tidegate", 12_001), ("api-tidegate", 12_002)] {
        let own = |service: &Value| service["metadata"]["name"] == gateway;
        let service = world.api.until(SERVICES, own).await;
        assert_eq!(*target(&service), port);
        assert_eq!(service["spec"]["ports"][0]["port"], 80);
        assert_eq!(service["spec"]["selector"]["tidegate.dev/pool"], name);
    }

    // The address of one is not that of the other.
    let own = |service: &Value| service["metadata"]["name"] == "api-tidegate";
    let mut service = world.api.until(SERVICES, own).await;
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}});
    world.api.put(SERVICES, service);
    let served = json!({"conditions": [condition("Accepted"), condition("Programmed")]});
    world.configd.say_shared(("web", "g"), &served, 12_001);
    world.configd.say_shared(("api", "h"), &served, 12_002);
    let address = json!([{"type": "IPAddress", "value": "192.0.2.8"}]);
    let api = |gateway: &Value| gateway["status"]["addresses"] == address;
    let found = world.api.until(GATEWAYS, api).await;
    assert_eq!(found["metadata"]["name"], "api");
    let web =
        |gateway: &Value| gateway["status"]["conditions"][1]["reason"] == "AddressNotAssigned";
    let found = world.api.until(GATEWAYS, web).await;
    assert_eq!(found["metadata"]["name"], "web");
    world.stop().await;
}

#[tokio::test]
async fn shared_workers_stay_until_the_last_gateway_has_left_them() {
    let world = shared_world().await;
    let is_shared = |one: &Value| !one["metadata"]["labels"]["tidegate.dev/pool"].is_null();
    let both = |one: &Value| is_shared(one) && owners(one).len() == 2;
    world.api.until(DEPLOYMENTS, both).await;

    world.api.delete(GATEWAYS, "api");
    let one = |one: &Value| is_shared(one) && owners(one) == ["g"];
    world.api.until(DEPLOYMENTS, one).await;

    // The other one takes workers of its own.
    let said = accepted();
    world.configd.say("Gateway", "infra", "web", "g", &said);
    let own = |one: &Value| one["metadata"]["name"] == "web-tidegate";
    let deployment = world.api.until(DEPLOYMENTS, own).await;
    assert_eq!(owners(&deployment), ["g"]);
    world.api.until(SERVICES, |one| *target(one) == 80).await;
    world.api.until_none(DEPLOYMENTS, is_shared).await;
    world.stop().await;
}

#[tokio::test]
async fn what_somebody_else_changes_or_deletes_comes_back() {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    api.put(GATEWAYS, gateway());
    let world = World::start(api).await;
    world
        .configd
        .say("Gateway", "infra", "web", "g", &accepted());
    let budgets = "/apis/policy/v1/namespaces/infra/poddisruptionbudgets";
    world.api.until(budgets, |_| true).await;
    world.api.delete(DEPLOYMENTS, "web-tidegate");
    let mut deployment = world.api.until(DEPLOYMENTS, |_| true).await;

    deployment["metadata"]["generation"] = json!(7);
    deployment["spec"]["replicas"] = json!(0);
    world.api.put(DEPLOYMENTS, deployment);
    let is_back = |one: &Value| one["metadata"]["generation"] == 7 && one["spec"]["replicas"] == 2;
    world.api.until(DEPLOYMENTS, is_back).await;
    world.stop().await;
}
