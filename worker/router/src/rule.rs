//! A rule of a route, ready to be carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_ir::{
    Action, ObjectName, Redirect, Retry, Route, RouteKind, RouteOrder, Rule, SessionPersistence,
    Target, Timeouts, WeightedBackend,
};

use crate::filter::CompiledFilters;
use crate::matcher::CompiledMatch;

/// A route whose rules are compiled.
#[derive(Debug)]
pub struct CompiledRoute {
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
    pub retry: Option<Retry>,
    /// Keeps a client at one endpoint; goes before the backend's own.
    pub session: Option<SessionPersistence>,
}

/// What happens to a request in the end.
#[derive(Debug)]
pub enum CompiledAction {
    /// Send it to one of the backends.
    Forward(Forward),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer 500; holds one sentence with the reason.
    Fault(Arc<str>),
}

/// The backends of a rule, chosen by weight.
#[derive(Debug)]
pub struct Forward {
    choices: Box<[CompiledChoice]>,
    /// Sum of the weights up to and with each choice, divided by their greatest common divisor.
    sums: Box<[u64]>,
    /// Coprime to the last sum, near its golden section: consecutive turns land far apart.
    stride: u64,
    turns: AtomicU64,
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
    /// Compiles a route.
    ///
    /// # Errors
    /// One sentence with the field, for what the control plane should not have let through.
    pub(crate) fn new(route: &Route) -> Result<Self, String> {
        let rules = route.rules.iter().enumerate().map(|(index, rule)| {
            CompiledRule::new(route, index, rule)
                .map(Arc::new)
                .map_err(|problem| format!("rules[{index}]: {problem}"))
        });
        Ok(Self {
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
        let divisor = choices
            .iter()
            .fold(0, |divisor, c| common_divisor(divisor, c.weight.into()));
        let mut sum = 0;
        let mut sums = Vec::with_capacity(choices.len());
        for choice in choices {
            sum += u64::from(choice.weight) / divisor.max(1);
            sums.push(sum);
        }
        if sum == 0 {
            return Err("the weights of its backends add up to 0".to_owned());
        }
        let choices = choices
            .iter()
            .map(CompiledChoice::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            choices,
            sums: sums.into(),
            stride: stride(sum),
            turns: AtomicU64::new(0),
        })
    }

    /// The choice of the next request. Of as many consecutive requests as the weights add up to, each
    /// choice gets exactly its weight, spread evenly.
    pub fn next(&self) -> &CompiledChoice {
        if self.choices.len() == 1 {
            return &self.choices[0];
        }
        self.at_turn(self.turns.fetch_add(1, Ordering::Relaxed))
    }

    /// All choices, in the order of the rule.
    pub fn choices(&self) -> &[CompiledChoice] {
        &self.choices
    }

    fn at_turn(&self, turn: u64) -> &CompiledChoice {
        let total = self.sums.last().copied().expect("a forward has a choice");
        // Both factors are below 2^32: at most 2^12 choices of at most 10^6.
        let slot = (turn % total) * self.stride % total;
        &self.choices[self.sums.partition_point(|sum| *sum <= slot)]
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

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn stride(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988_749_895) as u64;
    (golden.max(1)..=total)
        .find(|stride| common_divisor(*stride, total) == 1)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(weights: &[u32]) -> Forward {
        let backend = |weight: &u32| WeightedBackend {
            weight: *weight,
            target: Target::Backend(weight.to_string().into()),
            filters: vec![],
        };
        Forward::new(&weights.iter().map(backend).collect::<Vec<_>>()).expect("valid weights")
    }

    fn share(forward: &Forward, requests: u32, weight: u32) -> usize {
        (0..requests)
            .filter(|_| forward.next().weight == weight)
            .count()
    }

    #[test]
    fn each_round_gives_every_choice_exactly_its_weight() {
        for weights in [&[90, 10][..], &[1, 2, 3], &[7, 0, 5], &[999_983, 17]] {
            let forward = forward(weights);
            let round = forward.sums.last().copied().expect("not empty");
            let round = u32::try_from(round).expect("small");
            for weight in weights {
                let expected = u64::from(*weight) * u64::from(round)
                    / weights.iter().map(|w| u64::from(*w)).sum::<u64>();
                assert_eq!(
                    share(&forward, round, *weight) as u64,
                    expected,
                    "{weights:?}"
                );
            }
        }
    }

    #[test]
    fn shares_are_spread_evenly_inside_a_round() {
        let tenth = self::forward(&[90, 10]);
        for window in 0..5 {
            assert_eq!(share(&tenth, 10, 10), 1, "window {window}");
        }
    }

    #[test]
    fn weights_without_a_sum_are_refused() {
        let choice = WeightedBackend {
            weight: 0,
            target: Target::Fault("x".into()),
            filters: vec![],
        };
        assert!(Forward::new(&[choice]).is_err());
    }
}
