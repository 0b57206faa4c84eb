//! GatewayClasses: whether they are ours, and their status.

use serde_json::json;

use crate::api::gateway::GatewayClassSpec;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::features::SUPPORTED_FEATURES;
use crate::objects::{Objects, Parsed};
use crate::parameters;
use crate::status::{Condition, ObjectStatus, conditions};

/// The status of a class, if it is ours.
pub(crate) fn status(
    objects: &Objects,
    class: &Parsed<GatewayClassSpec>,
    controller_name: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ObjectStatus> {
    if class.spec.controller_name != controller_name {
        return None;
    }
    let accepted = match parameters::of_class(objects, class) {
        Ok(_) => Condition::yes("Accepted", "Accepted", "The class is accepted"),
        Err(problem) => {
            let message = format!("parametersRef: {problem}");
            let code = &codes::CLASS_PARAMETERS;
            let field = "spec.parametersRef";
            diagnostics.push(Diagnostic::new(&class.key, field, code, message.clone()));
            Condition::no("Accepted", "InvalidParameters", message)
        }
    };
    let message = "The Gateway API objects are read as of version 1.7";
    let version = Condition::yes("SupportedVersion", "SupportedVersion", message);
    let features = SUPPORTED_FEATURES
        .iter()
        .map(|name| json!({ "name": name }));
    Some(ObjectStatus {
        key: class.key.clone(),
        uid: class.uid.clone(),
        generation: class.generation,
        pool: None,
        ports: vec![],
        parameters: None,
        status: json!({
            "conditions": conditions(&[accepted, version], class.generation),
            "supportedFeatures": features.collect::<Vec<_>>(),
        })
        .into(),
        shown: vec![],
    })
}
