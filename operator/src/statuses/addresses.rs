//! The addresses of a Gateway: those of the Service in front of its workers.
//!
//! configd takes what a Gateway asks for on trust, since it does not know the cluster; here it is held against what
//! the Service got.

use serde_json::{Value, json};

/// Completes the status of a Gateway that is served by the addresses of its Service; `asked` is its `spec.addresses`.
pub(super) fn complete(
    status: &mut Value,
    is_served: bool,
    asked: &Value,
    service: Option<&Value>,
) {
    if !is_served {
        return;
    }
    let found = service.map(addresses_of).unwrap_or_default();
    let asked: Vec<&Value> = asked.as_array().into_iter().flatten().collect();
    let valued: Vec<&Value> = asked.iter().copied().filter(|one| has_value(one)).collect();
    let takes_any = valued.len() < asked.len() || asked.is_empty();
    let is_asked = |one: &Value| takes_any || valued.iter().any(|asked| is_same(asked, one));
    let bound: Vec<Value> = found.iter().filter(|one| is_asked(one)).cloned().collect();
    let missing = valued
        .iter()
        .find(|asked| !found.iter().any(|one| is_same(asked, one)));
    if let Some(missing) = missing {
        hold_back(
            status,
            &["True", "False"],
            "AddressNotUsable",
            &not_usable(missing, &found),
        );
    } else if bound.is_empty() {
        let message = not_assigned(service);
        hold_back(status, &["True"], "AddressNotAssigned", &message);
    }
    if !bound.is_empty() {
        status["addresses"] = Value::Array(bound);
    }
}

fn has_value(address: &Value) -> bool {
    address["value"]
        .as_str()
        .is_some_and(|value| !value.is_empty())
}

fn is_same(asked: &Value, found: &Value) -> bool {
    let kind = asked["type"].as_str().unwrap_or("IPAddress");
    kind == found["type"].as_str().unwrap_or_default() && asked["value"] == found["value"]
}

/// What clients reach the Service by.
fn addresses_of(service: &Value) -> Vec<Value> {
    if service["spec"]["type"] == "LoadBalancer" {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
        let ingress = ingress.into_iter().flatten();
        return ingress.filter_map(of_ingress).collect();
    }
    let addresses = service["spec"]["clusterIPs"].as_array();
    let addresses = addresses.into_iter().flatten().filter(|ip| *ip != "None");
    addresses
        .map(|ip| json!({"type": "IPAddress", "value": ip}))
        .collect()
}

fn of_ingress(ingress: &Value) -> Option<Value> {
    let found = |field: &str| ingress[field].as_str().filter(|value| !value.is_empty());
    let ip = found("ip").map(|ip| json!({"type": "IPAddress", "value": ip}));
    ip.or_else(|| Some(json!({"type": "Hostname", "value": found("hostname")?})))
}

fn not_usable(asked: &Value, found: &[Value]) -> String {
    let value = |one: &Value| one["value"].as_str().unwrap_or_default().to_owned();
    let found: Vec<String> = found.iter().map(value).collect();
    let have = match found.as_slice() {
        [] => "its Service has no address yet".to_owned(),
        found => format!("its Service has {}", found.join(", ")),
    };
    format!("The address {} is not assigned: {have}", value(asked))
}

fn not_assigned(service: Option<&Value>) -> String {
    let Some(service) = service else {
        return "The Service in front of the workers does not exist yet".to_owned();
    };
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let kind = service["spec"]["type"].as_str().unwrap_or_default();
    format!(
        "Service {name} of type {kind} has no address yet; without a controller for load balancers it gets none: \
         set service.type in the GatewayParameters to ClusterIP or NodePort"
    )
}

/// `Programmed` is false for this reason; where it is false because the Gateway is not valid, that stays.
fn hold_back(status: &mut Value, from: &[&str], reason: &str, message: &str) {
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|one| one["type"] == "Programmed") {
        let is_invalid = condition["reason"] == "Invalid";
        if !is_invalid && from.iter().any(|from| condition["status"] == **from) {
            condition["status"] = json!("False");
            condition["reason"] = json!(reason);
            condition["message"] = json!(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": type_});
        json!({"conditions": [condition("Accepted"), condition("Programmed")]})
    }

    fn service(ingress: Value) -> Value {
        json!({
            "metadata": {"name": "web-tidegate"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.7"]},
            "status": {"loadBalancer": {"ingress": ingress}},
        })
    }

    fn completed(asked: Value, service: Option<&Value>) -> (Value, Value) {
        let mut status = status();
        complete(&mut status, true, &asked, service);
        (
            status["addresses"].clone(),
            status["conditions"][1]["reason"].clone(),
        )
    }

    fn ip(value: &str) -> Value {
        json!({"type": "IPAddress", "value": value})
    }

    #[test]
    fn a_gateway_has_the_addresses_of_its_service() {
        let service = service(json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]));
        let hostname = json!({"type": "Hostname", "value": "lb.example.com"});
        let all = json!([ip("192.0.2.1"), hostname]);
        let programmed = json!("Programmed");
        for asked in [json!(null), json!([{"type": "IPAddress"}])] {
            let found = completed(asked, Some(&service));
            assert_eq!(found, (all.clone(), programmed.clone()));
        }
        let one = completed(json!([ip("192.0.2.1")]), Some(&service));
        assert_eq!(one, (json!([ip("192.0.2.1")]), programmed));
    }

    #[test]
    fn an_address_that_is_not_assigned_is_said_to_be_unusable() {
        let service = service(json!([{"ip": "192.0.2.1"}]));
        let asked = json!([ip("192.0.2.1"), ip("198.51.100.1")]);
        let found = completed(asked, Some(&service));
        assert_eq!(found, (json!([ip("192.0.2.1")]), json!("AddressNotUsable")));
    }

    #[test]
    fn without_an_address_nothing_is_programmed() {
        let none = (Value::Null, json!("AddressNotAssigned"));
        assert_eq!(completed(Value::Null, None), none);
        assert_eq!(completed(Value::Null, Some(&service(json!([])))), none);
    }

    #[test]
    fn services_inside_the_cluster_have_their_cluster_addresses() {
        let service = json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.96.0.7"]}});
        let (addresses, _) = completed(Value::Null, Some(&service));
        assert_eq!(addresses, json!([ip("10.96.0.7")]));
    }

    #[test]
    fn a_gateway_that_is_not_served_has_none() {
        let mut status = status();
        status["conditions"][0]["status"] = json!("False");
        let before = status.clone();
        complete(&mut status, false, &Value::Null, None);
        assert_eq!(status, before);
    }
}
