//! Readiness: named conditions that must all hold before a process takes traffic.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// The conditions of one process; clones share them.
///
/// A process without conditions is ready. Names are few and fixed at start, so the map is bounded.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

/// One named condition of a [`Readiness`]; clones set the same condition.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    state: Arc<watch::Sender<State>>,
}

/// A condition that does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The condition's name, such as `snapshot`.
    pub condition: &'static str,
    /// A sentence for an operator, such as `no snapshot applied yet`.
    pub reason: String,
}

#[derive(Debug, Default)]
struct State {
    /// The reason why each condition does not hold; `None` for one that does.
    conditions: BTreeMap<&'static str, Option<String>>,
    /// Whether all conditions have held together at least once.
    started: bool,
}

impl State {
    fn is_ready(&self) -> bool {
        self.conditions.values().all(Option::is_none)
    }
}

impl Readiness {
    /// No condition yet.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }

    /// Adds a condition that does not hold yet; a second call with the same name unsets it again.
    pub fn condition(&self, name: &'static str, reason: impl Into<String>) -> Condition {
        let condition = Condition {
            name,
            state: Arc::clone(&self.state),
        };
        condition.unset(reason);
        condition
    }

    /// Whether every condition holds now.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// Whether every condition has held at once since the start, even if one does not now.
    pub fn has_started(&self) -> bool {
        let state = self.state.borrow();
        state.started || state.is_ready()
    }

    /// What is missing, ordered by condition name; empty means ready.
    pub fn unmet(&self) -> Vec<Unmet> {
        let state = self.state.borrow();
        let unmet = |(name, reason): (&&'static str, &Option<String>)| {
            reason.as_ref().map(|reason| Unmet {
                condition: name,
                reason: reason.clone(),
            })
        };
        state.conditions.iter().filter_map(unmet).collect()
    }

    /// Waits until every condition holds.
    pub async fn ready(&self) {
        let mut changes = self.state.subscribe();
        changes
            .wait_for(State::is_ready)
            .await
            .expect("the sender lives as long as self");
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Condition {
    /// The condition holds.
    pub fn set(&self) {
        self.update(None);
    }

    /// The condition does not hold (any more), because of `reason`.
    pub fn unset(&self, reason: impl Into<String>) {
        self.update(Some(reason.into()));
    }

    fn update(&self, reason: Option<String>) {
        self.state.send_modify(|state| {
            state.conditions.insert(self.name, reason);
            state.started |= state.is_ready();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_condition_holds() {
        let readiness = Readiness::new();
        let snapshot = readiness.condition("snapshot", "no snapshot applied yet");
        let listeners = readiness.condition("listeners", "not bound");
        snapshot.set();
        assert!(!readiness.is_ready());
        listeners.set();
        assert!(readiness.is_ready());
    }

    #[test]
    fn the_reasons_name_what_is_missing() {
        let readiness = Readiness::new();
        readiness.condition("snapshot", "no snapshot applied yet");
        readiness.condition("listeners", "not bound").set();
        let unmet = readiness.unmet();
        assert_eq!(unmet.len(), 1);
        assert_eq!(unmet[0].condition, "snapshot");
        assert_eq!(unmet[0].reason, "no snapshot applied yet");
    }

    #[test]
    fn a_process_that_lost_readiness_has_still_started() {
        let readiness = Readiness::new();
        let drain = readiness.condition("serving", "starting");
        assert!(!readiness.has_started());
        drain.set();
        drain.unset("draining");
        assert!(!readiness.is_ready());
        assert!(readiness.has_started());
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_last_condition_is_met() {
        let readiness = Readiness::new();
        let snapshot = readiness.condition("snapshot", "none");
        let waiter = readiness.ready();
        tokio::pin!(waiter);
        let early = tokio::time::timeout(std::time::Duration::from_millis(10), &mut waiter).await;
        assert!(early.is_err());
        snapshot.set();
        waiter.await;
    }
}
