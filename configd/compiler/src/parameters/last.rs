//! The parameters by which a Gateway was served last: whoever runs its workers remembers them, since the compiler has no memory.

use std::sync::Arc;

use serde::Deserialize;

use super::{GatewayParameters, Parameters};
use crate::api::gateway::GatewaySpec;
use crate::api::gateway_parameters::GatewayParametersSpec;
use crate::objects::Parsed;
use crate::rules;

/// More than this in bytes is not remembered: it travels with the status of each Gateway, and comes back as an annotation.
const LEN_MAX: usize = 8 << 10;

/// What a Gateway is served by while its references to parameters are broken.
#[derive(Debug, Clone)]
pub(crate) struct LastParameters {
    own: Option<GatewayParameters>,
    of_class: Option<GatewayParameters>,
}

/// As it is written in the annotation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    own: Option<GatewayParametersSpec>,
    of_class: Option<GatewayParametersSpec>,
}

impl LastParameters {
    /// Reads the annotation; `None` where it is not what `written` gives.
    pub(crate) fn read(annotation: &str) -> Option<Self> {
        let written: Written = serde_json::from_str(annotation).ok()?;
        let both = written.own.iter().chain(&written.of_class);
        let is_valid = both
            .map(rules::gateway_parameters)
            .all(|wrong| wrong.is_empty());
        let read = |spec: &Option<GatewayParametersSpec>| spec.as_ref().map(GatewayParameters::new);
        is_valid.then(|| Self {
            own: read(&written.own),
            of_class: read(&written.of_class),
        })
    }

    /// The Gateway's own, as if they were an object.
    pub(super) fn own(
        &self,
        gateway: &Parsed<GatewaySpec>,
    ) -> Option<Arc<Parsed<GatewayParameters>>> {
        parsed(gateway, self.own.as_ref())
    }

    /// Those of its class, as if they were an object.
    pub(super) fn of_class(
        &self,
        gateway: &Parsed<GatewaySpec>,
    ) -> Option<Arc<Parsed<GatewayParameters>>> {
        parsed(gateway, self.of_class.as_ref())
    }
}

fn parsed(
    gateway: &Parsed<GatewaySpec>,
    parameters: Option<&GatewayParameters>,
) -> Option<Arc<Parsed<GatewayParameters>>> {
    let parsed = Parsed {
        key: gateway.key.clone(),
        uid: gateway.uid.clone(),
        generation: gateway.generation,
        created_at_unix_s: gateway.created_at_unix_s,
        spec: parameters?.clone(),
    };
    Some(Arc::new(parsed))
}

/// The parameters as `LastParameters` reads them; `None` where they are too long to be remembered.
pub(super) fn written(parameters: &Parameters) -> Option<Arc<str>> {
    let field = |name: &str, one: &Option<Arc<Parsed<GatewayParameters>>>| {
        one.as_ref()
            .map(|one| format!("\"{name}\":{}", one.spec.text))
    };
    let own = field("own", &parameters.own);
    let of_class = field("ofClass", &parameters.of_class);
    let fields: Vec<String> = own.into_iter().chain(of_class).collect();
    let text = format!("{{{}}}", fields.join(","));
    (text.len() <= LEN_MAX).then(|| text.into())
}
