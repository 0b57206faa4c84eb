//! One route: its parts, its status and what it depends on.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate_ir::{EncodedPart, ObjectName};

use super::backend_ref::References;
use super::join::Joining;
use super::view::RouteObject;
use super::{Findings, RouteOutcome, rules};
use crate::gateway::GatewayView;
use crate::objects::{Objects, Place};
use crate::status::ObjectStatus;

/// What routes are compiled against.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) objects: &'a Objects,
    /// The Gateways of our classes.
    pub(crate) gateways: &'a BTreeMap<Place, GatewayView>,
    /// The Gateways of the ListenerSets that name one of them.
    pub(crate) sets: &'a BTreeMap<Place, Place>,
    pub(crate) controller_name: &'a str,
}

/// Compiles one route; parts that equal those of `previous` are taken from there.
pub(crate) fn compile(
    surroundings: Surroundings<'_>,
    route: &RouteObject<'_>,
    previous: Option<&RouteOutcome>,
) -> RouteOutcome {
    let mut findings = Findings {
        key: route.key,
        diagnostics: vec![],
    };
    let mut references = References::new(surroundings.objects, route.key);
    let rules = rules::compile(&route.spec.rules, &mut references, &mut findings);
    let mut joining = Joining::new(surroundings, route, &rules);
    let parents = joining.join(&references, &mut findings);
    let Joining {
        attached,
        attachments,
        dependencies,
        ..
    } = joining;
    let status = (!parents.is_empty()).then(|| ObjectStatus {
        key: route.key.clone(),
        uid: route.uid.to_owned(),
        generation: route.generation,
        pool: None,
        ports: vec![],
        parameters: None,
        status: json!({ "parents": parents }).into(),
        shown: vec![],
    });
    let parts = attachments.into_iter().map(|(pool, attachments)| {
        let object = ObjectName::new(route.key.namespace().clone(), route.key.name().clone());
        let attachments = attachments.into_values().collect();
        let part = rules
            .content
            .part(object, route.created_at_unix_s, attachments);
        let known = previous.and_then(|previous| previous.part_in(&pool));
        let encoded = match known {
            Some(known) if **known.part() == part => known.clone(),
            _ => EncodedPart::encode(part),
        };
        (pool, encoded)
    });
    let mut diagnostics = findings.diagnostics;
    diagnostics.sort();
    let used = rules.content.backends();
    let mut backends = references.backends;
    backends.retain(|backend| used.contains(&backend.part_name()));
    let mut depends_on = dependencies;
    depends_on.extend(references.dependencies);
    RouteOutcome {
        key: route.key.clone(),
        created_at_unix_s: route.created_at_unix_s,
        status,
        diagnostics,
        attached: attached.into_iter().collect(),
        parts: parts.collect(),
        backends: backends.into_iter().collect(),
        dependencies: depends_on.into_iter().collect(),
    }
}
