//! A rule of a route, ready to be carried out.

use std::sync::Arc;

use tidegate_ir::{
    Action, Digest, ObjectName, Redirect, Retry, Route, RouteKind, RouteOrder, Rule,
    SessionPersistence, Target, Timeouts, WeightedBackend,
};

use crate::filter::CompiledFilters;
use crate::matcher::CompiledMatch;
use crate::turns::Turns;

/// A route whose rules are compiled.
#[derive(Debug)]
pub struct CompiledRoute {
    /// Content of the part that it was compiled from.
    pub(crate) digest: Digest,
    /// Its place among equally specific routes.
    pub order: RouteOrder,
    /// In the order of the object.
    pub rules: Box<[Arc<CompiledRule>]>,
}

/// A rule whose matches, filters and action are compiled.
#[derive(Debug)]
pub struct CompiledRule {
    /// Kind of the route object.
    pub kind: RouteKind,
    /// The route object.
    pub route: ObjectName,
    /// Place of the rule in the object, from 0.
    pub index: usize,
    /// The rule's name, or its index where it has none.
    pub label: Arc<str>,
    /// Any of them selects the rule.
    pub matches: Box<[CompiledMatch]>,
    /// Applied in this order.
    pub filters: CompiledFilters,
    /// What happens to the request in the end.
    pub action: CompiledAction,
    /// Bounds on how long that may take.
    pub timeouts: Timeouts,
    /// What is tried again; `None` means only connections that failed.
    pub retry: Option<Arc<Retry>>,
    /// Keeps a client at one endpoint; goes before the backend's own.
    pub session: Option<Arc<SessionPersistence>>,
}

/// What happens to a request in the end.
#[derive(Debug)]
pub enum CompiledAction {
    /// Send it to one of the backends.
    Forward(Forward),
    /// Answer with a redirect.
    Redirect(Arc<Redirect>),
    /// Answer 500; holds one sentence with the reason.
    Fault(Arc<str>),
}

/// The backends of a rule, chosen by weight.
#[derive(Debug)]
pub struct Forward {
    choices: Box<[CompiledChoice]>,
    turns: Turns,
}

/// One choice of a forward.
#[derive(Debug)]
pub struct CompiledChoice {
    /// Where the share goes.
    pub target: Target,
    /// Share of the sum of weights.
    pub weight: u32,
    /// Applied after the rule's filters when this choice is made.
    pub filters: CompiledFilters,
}

impl CompiledRoute {
    /// Compiles a route whose part has that content.
    ///
    /// # Errors
    /// One sentence with the field, for what the control plane should not have let through.
    pub(crate) fn new(route: &Route, digest: Digest) -> Result<Self, String> {
        let rules = route.rules.iter().enumerate().map(|(index, rule)| {
            CompiledRule::new(route, index, rule)
                .map(Arc::new)
                .map_err(|problem| format!("rules[{index}]: {problem}"))
        });
        Ok(Self {
            digest,
            order: route.order(),
            rules: rules.collect::<Result<_, _>>()?,
        })
    }
}

impl CompiledRule {
    fn new(route: &Route, index: usize, rule: &Rule) -> Result<Self, String> {
        let matches = rule.matches.iter().map(CompiledMatch::new);
        let action = match &rule.action {
            Action::Forward(choices) => CompiledAction::Forward(Forward::new(choices)?),
            Action::Redirect(redirect) => CompiledAction::Redirect(redirect.clone()),
            Action::Fault(reason) => CompiledAction::Fault(reason.clone()),
        };
        Ok(Self {
            kind: route.kind,
            route: route.object.clone(),
            index,
            label: rule
                .name
                .clone()
                .unwrap_or_else(|| index.to_string().into()),
            matches: matches.collect::<Result<_, _>>()?,
            filters: CompiledFilters::new(&rule.filters)?,
            action,
            timeouts: rule.timeouts,
            retry: rule.retry.clone(),
            session: rule.session.clone(),
        })
    }
}

impl Forward {
    fn new(choices: &[WeightedBackend]) -> Result<Self, String> {
        let turns = Turns::new(choices.iter().map(|choice| choice.weight))?;
        let choices = choices
            .iter()
            .map(CompiledChoice::new)
            .collect::<Result<_, _>>()?;
        Ok(Self { choices, turns })
    }

    /// The choice of the next request. Of as many consecutive requests as the weights add up to, each
    /// choice gets exactly its weight, spread evenly.
    pub fn next(&self) -> &CompiledChoice {
        &self.choices[self.turns.next()]
    }

    /// All choices, in the order of the rule.
    pub fn choices(&self) -> &[CompiledChoice] {
        &self.choices
    }
}

impl CompiledChoice {
    fn new(choice: &WeightedBackend) -> Result<Self, String> {
        let filters = CompiledFilters::new(&choice.filters)?;
        Ok(Self {
            target: choice.target.clone(),
            weight: choice.weight,
            filters,
        })
    }
}
