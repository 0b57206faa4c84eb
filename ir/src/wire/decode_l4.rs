//! From the wire's messages to the model's routes of layer 4.

use tidegate_proto::ir::v1 as proto;

use super::InvalidPart;
use super::decode::{Decoded, each, optional, set, text, unknown, weight};
use crate::{L4Choice, L4Route, L4RouteKind, ObjectName, Target};

impl TryFrom<proto::L4Route> for L4Route {
    type Error = InvalidPart;

    fn try_from(wire: proto::L4Route) -> Decoded<Self> {
        let kind = match wire.kind() {
            proto::L4RouteKind::Tls => L4RouteKind::Tls,
            proto::L4RouteKind::Tcp => L4RouteKind::Tcp,
            proto::L4RouteKind::Udp => L4RouteKind::Udp,
            proto::L4RouteKind::Unspecified => return unknown("kind", wire.kind),
        };
        let choices: Vec<L4Choice> = each("choices", wire.choices)?;
        if choices.iter().all(|choice| choice.weight == 0) {
            return Err(InvalidPart::new("choices", "the weights sum to 0"));
        }
        Ok(Self {
            kind,
            object: ObjectName::new(text("namespace", wire.namespace)?, text("name", wire.name)?),
            created_at_unix_s: wire.created_at_unix_s,
            attachments: each("attachments", wire.attachments)?,
            rule_name: optional(wire.rule_name),
            choices,
        })
    }
}

impl TryFrom<proto::L4Choice> for L4Choice {
    type Error = InvalidPart;

    fn try_from(wire: proto::L4Choice) -> Decoded<Self> {
        use proto::l4_choice::Target as Wire;
        let target = match set("target", wire.target)? {
            Wire::Backend(name) => Target::Backend(text("backend", name)?),
            Wire::Fault(fault) => Target::Fault(fault.reason.into()),
        };
        Ok(Self {
            weight: weight(wire.weight)?,
            target,
        })
    }
}
