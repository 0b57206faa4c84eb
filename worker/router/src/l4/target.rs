//! A route of layer 4, ready to be carried out.

use std::sync::Arc;

use tidegate_ir::{L4Choice, L4Route, L4RouteKind, ObjectName, RouteOrder, Target};

use crate::turns::Turns;

/// Where the connections or flows of a route go.
#[derive(Debug)]
pub struct L4Target {
    /// Kind of the route object.
    pub kind: L4RouteKind,
    /// The route object.
    pub route: ObjectName,
    /// Name of its only rule, or `0` where that has none.
    pub rule: Arc<str>,
    order: RouteOrder,
    choices: Box<[L4Choice]>,
    turns: Turns,
}

impl L4Target {
    /// # Errors
    /// One sentence with the field, for what the control plane should not have let through.
    pub(crate) fn new(route: &L4Route) -> Result<Self, String> {
        Ok(Self {
            kind: route.kind,
            route: route.object.clone(),
            rule: route.rule_name.clone().unwrap_or_else(|| "0".into()),
            order: route.order(),
            choices: route.choices.clone().into(),
            turns: Turns::new(route.choices.iter().map(|choice| choice.weight))?,
        })
    }

    /// Where the next connection or flow goes. Of as many as the weights add up to, each choice gets
    /// exactly its weight, spread evenly.
    pub fn next(&self) -> &Target {
        &self.choices[self.turns.next()].target
    }

    /// All choices, in the order of the route.
    pub fn choices(&self) -> &[L4Choice] {
        &self.choices
    }

    pub(crate) fn order(&self) -> &RouteOrder {
        &self.order
    }
}
