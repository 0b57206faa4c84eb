//! All objects of the cluster that count, and of which kinds all are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::Observed;
use crate::key::GroupKind;
use crate::table::Table;

/// The objects; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    pub(crate) objects: Table<Observed>,
    listed: Arc<watch::Sender<Listed>>,
}

/// Which kinds have been listed whole.
#[derive(Debug, Default)]
struct Listed {
    /// Whether it is known which kinds there are.
    discovered: bool,
    /// Kinds that the cluster serves, with the reason why they are not listed yet.
    kinds: BTreeMap<GroupKind, Option<String>>,
}

impl Mirror {
    pub(crate) fn new() -> Self {
        Self {
            objects: Table::default(),
            listed: Arc::new(watch::Sender::new(Listed::default())),
        }
    }

    /// It is known which kinds there are.
    pub(crate) fn set_discovered(&self) {
        self.listed.send_modify(|listed| listed.discovered = true);
    }

    /// A kind that is not listed, and why. One that was listed once stays so: what is known of it is kept.
    pub(crate) fn set_unlisted(&self, kind: &GroupKind, reason: &str) {
        self.listed.send_modify(|listed| {
            let entry = listed.kinds.entry(kind.clone());
            let reason = Some(reason.to_owned());
            entry
                .and_modify(|known| {
                    if known.is_some() {
                        known.clone_from(&reason);
                    }
                })
                .or_insert(reason);
        });
    }

    /// Every object of a kind is known.
    pub(crate) fn set_listed(&self, kind: &GroupKind) {
        self.listed.send_modify(|listed| {
            listed.kinds.insert(kind.clone(), None);
        });
    }

    /// Waits until every kind that the cluster serves is listed: a set that is not whole must not be sent.
    pub(crate) async fn whole(&self) {
        let mut listed = self.listed.subscribe();
        // The sender lives as long as self.
        let _ = listed.wait_for(|listed| listed.missing().is_none()).await;
    }

    /// What keeps the set from being whole, in one sentence.
    pub(crate) fn missing(&self) -> Option<String> {
        self.listed.borrow().missing()
    }

    /// Waits until what is missing may be something else.
    pub(crate) fn watch_missing(&self) -> impl Future<Output = ()> + use<> {
        let mut listed = self.listed.subscribe();
        async move {
            let _ = listed.changed().await;
        }
    }
}

impl Listed {
    fn missing(&self) -> Option<String> {
        if !self.discovered {
            return Some("the API server has not said which kinds it serves".to_owned());
        }
        let mut missing = self.kinds.iter();
        missing.find_map(|((_, kind), reason)| {
            let reason = reason.as_ref()?;
            Some(format!("{kind} is not listed: {reason}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_whole_when_every_kind_was_listed_once() {
        let mirror = Mirror::new();
        assert!(mirror.missing().is_some());
        let pods: GroupKind = ("".into(), "Pod".into());
        mirror.set_unlisted(&pods, "forbidden");
        mirror.set_discovered();
        let missing = mirror.missing();
        assert_eq!(missing.as_deref(), Some("Pod is not listed: forbidden"));
        mirror.set_listed(&pods);
        assert_eq!(mirror.missing(), None);
        // A watch that breaks later leaves what is known.
        mirror.set_unlisted(&pods, "forbidden");
        assert_eq!(mirror.missing(), None);
    }
}
