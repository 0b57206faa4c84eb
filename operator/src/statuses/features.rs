//! Features of the Gateway API that exist only where an operator runs the workers; all others are configd's to claim.

use serde_json::{Value, json};

/// Names as in the specification's `pkg/features`.
const OWN: [&str; 1] = ["GatewayInfrastructure"];

/// Adds them to the status of a GatewayClass, whose features stay ascending.
pub(super) fn add(status: &mut Value) {
    let Some(features) = status["supportedFeatures"].as_array_mut() else {
        return;
    };
    features.extend(OWN.map(|name| json!({ "name": name })));
    features.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    features.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_stay_ascending() {
        let mut status = json!({"supportedFeatures": [{"name": "Gateway"}, {"name": "HTTPRoute"}]});
        add(&mut status);
        add(&mut status);
        let names = ["Gateway", "GatewayInfrastructure", "HTTPRoute"];
        let expected = names.map(|name| json!({ "name": name }));
        assert_eq!(status["supportedFeatures"], json!(expected));
    }
}
