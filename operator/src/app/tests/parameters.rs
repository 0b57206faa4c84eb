//! GatewayParameters that are gone while a Gateway is served.

use super::*;

const PARAMETERS: &str = "/apis/tidegate.dev/v1alpha1/namespaces/infra/gatewayparameters";
const LAST: &str = r#"{"own":{"workers":{"replicas":3}}}"#;

fn parameters() -> Value {
    json!({
        "metadata": {"name": "three", "namespace": "infra", "uid": "p", "generation": 1},
        "spec": {"workers": {"replicas": 3}},
    })
}

fn gateway_with_parameters() -> Value {
    let mut gateway = gateway();
    gateway["spec"]["infrastructure"]["parametersRef"] =
        json!({"group": "tidegate.dev", "kind": "GatewayParameters", "name": "three"});
    gateway
}

fn refused() -> Value {
    let cause = "GatewayParameters infra/three does not exist";
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": cause,
            "observedGeneration": 1,
        })
    };
    json!({"conditions": [
        condition("Accepted", "False", "InvalidParameters"),
        condition("Programmed", "True", "Programmed"),
    ]})
}

fn has_three(deployment: &Value) -> bool {
    deployment["spec"]["replicas"] == 3
}

/// What configd has of the Gateway's memory.
fn remembered(state: &configd::State) -> Option<String> {
    let gateway = state.objects.get("Gateway infra/web")?;
    let gateway: Value = serde_json::from_slice(&gateway.content).ok()?;
    let annotation = &gateway["metadata"]["annotations"]["tidegate.dev/last-parameters"];
    annotation.as_str().map(str::to_owned)
}

/// A Gateway that is served, has an address, and has lost its parameters.
async fn world_without_parameters() -> World {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    api.put(PARAMETERS, parameters());
    api.put(GATEWAYS, gateway_with_parameters());
    let world = World::start(api).await;
    world.configd.say_served(&accepted(), LAST);
    world.api.until(DEPLOYMENTS, has_three).await;
    let mut service = world.api.until(SERVICES, |_| true).await;
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    world.api.put(SERVICES, service);
    let remembers = |state: &configd::State| remembered(state).as_deref() == Some(LAST);
    world.configd.until(remembers).await;

    world.api.delete(PARAMETERS, "three");
    let is_gone =
        |state: &configd::State| !state.objects.contains_key("GatewayParameters infra/three");
    world.configd.until(is_gone).await;
    world.configd.say_served(&refused(), LAST);
    world
}

#[tokio::test]
async fn a_gateway_that_is_served_goes_on_without_its_parameters() {
    let world = world_without_parameters().await;
    let says_so = |gateway: &Value| {
        gateway["status"]["conditions"][0]["reason"] == "InvalidParameters"
            && gateway["status"]["conditions"][1]["status"] == "True"
    };
    let gateway = world.api.until(GATEWAYS, says_so).await;
    let address = json!([{"type": "IPAddress", "value": "192.0.2.7"}]);
    assert_eq!(gateway["status"]["addresses"], address);
    let events = "/apis/events.k8s.io/v1/namespaces/infra/events";
    let tells = |event: &Value| event["reason"] == "InvalidParameters";
    let event = world.api.until(events, tells).await;
    let note = event["note"].as_str().unwrap_or_default();
    assert!(note.contains("infra/three"), "{note}");

    world.api.delete(DEPLOYMENTS, "web-tidegate");
    world.api.until(DEPLOYMENTS, has_three).await;
    // Its memory comes back with the Service.
    world.api.delete(SERVICES, "web-tidegate");
    world.api.until(SERVICES, |_| true).await;
    let remembers = |state: &configd::State| remembered(state).as_deref() == Some(LAST);
    world.configd.until(remembers).await;
    world.stop().await;
}

#[tokio::test]
async fn another_operator_knows_the_parameters_that_are_gone() {
    let world = world_without_parameters().await;
    let api = world.api.clone();
    world.stop().await;
    api.delete(DEPLOYMENTS, "web-tidegate");

    // It knows nothing but the cluster, and has its first set complete.
    let world = World::start(api).await;
    let first = world.configd.until(|state| !state.objects.is_empty()).await;
    assert_eq!(remembered(&first).as_deref(), Some(LAST));
    world.api.until(DEPLOYMENTS, has_three).await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_was_never_served_waits_for_its_parameters() {
    let api = ApiServer::new();
    api.put(CLASSES, class());
    let mut forged = gateway_with_parameters();
    forged["metadata"]["annotations"] = json!({"tidegate.dev/last-parameters": LAST});
    api.put(GATEWAYS, forged);
    let world = World::start(api).await;
    let first = world.configd.until(|state| !state.objects.is_empty()).await;
    assert_eq!(remembered(&first), None);
    world.configd.say_served(&refused(), "");
    let events = "/apis/events.k8s.io/v1/namespaces/infra/events";
    let tells = |event: &Value| event["reason"] == "InvalidParameters";
    world.api.until(events, tells).await;
    world.api.until_none(DEPLOYMENTS, |_| true).await;

    world.api.put(PARAMETERS, parameters());
    world.configd.say_served(&accepted(), LAST);
    world.api.until(DEPLOYMENTS, has_three).await;
    world.stop().await;
}
