//! What becomes of a status when ours comes into it.

use serde_json::{Value, json};

use super::*;

const CONTROLLER: &str = "tidegate.dev/gateway-controller";
const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-11-30T08:00:00Z";

fn condition(type_: &str, status: &str) -> Value {
    json!({"type": type_, "status": status, "reason": type_, "message": "", "observedGeneration": 1})
}

fn since(mut condition: Value, time: &str) -> Value {
    condition["lastTransitionTime"] = json!(time);
    condition
}

/// The status after the change, as the API server makes it of a merge patch.
fn merged(current: &Value, wanted: &Value) -> Option<Value> {
    let patch = merge(current, wanted, CONTROLLER, NOW)?;
    let mut after = current.clone();
    for (field, value) in patch.as_object()? {
        match value {
            Value::Null => drop(after.as_object_mut()?.remove(field)),
            value => after[field] = value.clone(),
        }
    }
    Some(after)
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let current = json!({"conditions": [since(condition("Accepted", "True"), THEN)]});
    let mut wanted = json!({"conditions": [condition("Accepted", "True")]});
    assert_eq!(merged(&current, &wanted), None);
    wanted["conditions"][0]["observedGeneration"] = json!(2);
    let after = merged(&current, &wanted).expect("the generation differs");
    assert_eq!(after["conditions"][0]["lastTransitionTime"], THEN);
    assert_eq!(after["conditions"][0]["observedGeneration"], 2);
    wanted["conditions"][0]["status"] = json!("False");
    let after = merged(&current, &wanted).expect("the status differs");
    assert_eq!(after["conditions"][0]["lastTransitionTime"], NOW);
}

#[test]
fn conditions_of_others_stay_and_ours_go_when_they_are_over() {
    let foreign = since(condition("example.com/Audited", "True"), THEN);
    let over = since(condition("InsecureFrontendValidationMode", "True"), THEN);
    let accepted = since(condition("Accepted", "Unknown"), THEN);
    let current = json!({
        "conditions": [foreign, over, accepted],
        "listeners": [{"name": "http", "conditions": [foreign]}, {"name": "gone", "conditions": []}],
    });
    let wanted = json!({
        "conditions": [condition("Accepted", "True"), condition("Programmed", "True")],
        "listeners": [{"name": "http", "attachedRoutes": 0, "conditions": [condition("Accepted", "True")]}],
    });
    let after = merged(&current, &wanted).expect("it differs");
    let own = since(condition("Accepted", "True"), NOW);
    let expected = json!({
        "conditions": [foreign, own, since(condition("Programmed", "True"), NOW)],
        "listeners": [{"name": "http", "attachedRoutes": 0, "conditions": [foreign, own]}],
    });
    assert_eq!(after, expected);
    assert_eq!(merged(&after, &wanted), None);
}

#[test]
fn parents_of_other_controllers_keep_their_places() {
    let foreign = json!({
        "controllerName": "example.com/other",
        "parentRef": {"name": "web"},
        "conditions": [since(condition("Accepted", "False"), THEN)],
    });
    let own = |name: &str| {
        json!({
            "controllerName": CONTROLLER,
            "parentRef": {"name": name, "namespace": "infra"},
            "conditions": [condition("Accepted", "True")],
        })
    };
    let stored = |name: &str, time: &str| {
        let mut entry = own(name);
        // As the API server completes it.
        entry["parentRef"]["kind"] = json!("Gateway");
        entry["conditions"][0]["lastTransitionTime"] = json!(time);
        entry
    };
    let current = json!({"parents": [stored("left", THEN), foreign, stored("web", THEN)]});
    let wanted = json!({"parents": [own("web"), own("new")]});
    let after = merged(&current, &wanted).expect("it differs");
    let parents = after["parents"].as_array().expect("a list");
    assert_eq!(parents.len(), 3);
    assert_eq!(parents[0], foreign);
    assert_eq!(parents[1]["parentRef"]["name"], "web");
    assert_eq!(parents[1]["conditions"][0]["lastTransitionTime"], THEN);
    assert_eq!(parents[2]["parentRef"]["name"], "new");

    let patch = withdraw(&current, CONTROLLER).expect("two are ours");
    assert_eq!(patch, json!({"parents": [foreign]}));
    assert_eq!(withdraw(&json!({"parents": [foreign]}), CONTROLLER), None);
    assert_eq!(withdraw(&Value::Null, CONTROLLER), None);
}

#[test]
fn defaults_of_the_api_server_are_no_difference() {
    let current = json!({"parents": [{
        "controllerName": CONTROLLER,
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"},
        "conditions": [since(condition("Accepted", "True"), THEN)],
    }]});
    let wanted = json!({"parents": [{
        "controllerName": CONTROLLER,
        "parentRef": {"name": "web"},
        "conditions": [condition("Accepted", "True")],
    }]});
    assert_eq!(merged(&current, &wanted), None);
}

#[test]
fn addresses_go_when_there_are_none() {
    let current = json!({"addresses": [{"type": "IPAddress", "value": "10.0.0.1"}]});
    let after = merged(&current, &json!({"listeners": []})).expect("it differs");
    assert_eq!(after, json!({"listeners": []}));
}

#[test]
fn numbers_of_routes_are_told_from_the_rest() {
    let status = |routes: u32, programmed: &str| {
        json!({
            "conditions": [condition("Accepted", "True"), condition("Programmed", programmed)],
            "listeners": [{
                "name": "http",
                "attachedRoutes": routes,
                "conditions": [condition("Accepted", "True")],
            }],
        })
    };
    let current = merged(&Value::Null, &status(1, "False")).expect("it is new");
    let change = |wanted: &Value| merge(&current, wanted, CONTROLLER, NOW).expect("it differs");
    assert!(is_of_counts(&current, &change(&status(2, "False"))));
    assert!(!is_of_counts(&current, &change(&status(2, "True"))));
    let mut listener = status(2, "False");
    listener["listeners"][0]["conditions"][0]["status"] = json!("False");
    assert!(!is_of_counts(&current, &change(&listener)));
    let parents = json!({"parents": []});
    assert!(!is_of_counts(&Value::Null, &parents));
}
