//! From the model's routes of layer 4 to the wire's messages.

use tidegate_proto::ir::v1 as proto;

use super::encode::{each, fault, optional};
use crate::{L4Choice, L4Route, L4RouteKind, Target};

impl From<&L4Route> for proto::L4Route {
    fn from(route: &L4Route) -> Self {
        let kind = match route.kind {
            L4RouteKind::Tls => proto::L4RouteKind::Tls,
            L4RouteKind::Tcp => proto::L4RouteKind::Tcp,
            L4RouteKind::Udp => proto::L4RouteKind::Udp,
        };
        Self {
            kind: kind.into(),
            namespace: route.object.namespace.to_string(),
            name: route.object.name.to_string(),
            created_at_unix_s: route.created_at_unix_s,
            attachments: each(&route.attachments),
            rule_name: optional(route.rule_name.as_ref()),
            choices: each(&route.choices),
        }
    }
}

impl From<&L4Choice> for proto::L4Choice {
    fn from(choice: &L4Choice) -> Self {
        use proto::l4_choice::Target as Wire;
        let target = match &choice.target {
            Target::Backend(name) => Wire::Backend(name.to_string()),
            Target::Fault(reason) => Wire::Fault(fault(reason)),
        };
        Self {
            weight: choice.weight,
            target: Some(target),
        }
    }
}
