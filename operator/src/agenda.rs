//! Which objects have to be worked on, and when; none of them twice at once.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::key::ObjectKey;

/// The objects; each at most once, so there are never more than the cluster has.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    due: BTreeMap<ObjectKey, Instant>,
    busy: BTreeSet<ObjectKey>,
}

impl Agenda {
    /// An object is to be worked on, unless that is planned for an earlier time.
    pub(crate) fn add(&mut self, key: ObjectKey, at: Instant) {
        let due = self.due.entry(key).or_insert(at);
        *due = (*due).min(at);
    }

    /// An object that is due; if there is one that goes first, that.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        goes_first: impl Fn(&ObjectKey) -> bool,
    ) -> Option<ObjectKey> {
        let ready = |(key, at): &(&ObjectKey, &Instant)| **at <= now && !self.busy.contains(*key);
        let ready = self.due.iter().filter(ready).map(|(key, _)| key);
        let next = ready.min_by_key(|key| !goes_first(key))?.clone();
        self.due.remove(&next);
        self.busy.insert(next.clone());
        Some(next)
    }

    /// The work on an object has ended. If it is due again, then not before that time.
    pub(crate) fn done(&mut self, key: &ObjectKey, not_before: Instant) {
        self.busy.remove(key);
        if let Some(due) = self.due.get_mut(key) {
            *due = (*due).max(not_before);
        }
    }

    /// Whether an object is being worked on.
    pub(crate) fn is_busy(&self, key: &ObjectKey) -> bool {
        self.busy.contains(key)
    }

    /// When the next object is due; `None` where all are being worked on.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let waiting = self.due.iter().filter(|(key, _)| !self.busy.contains(*key));
        waiting.map(|(_, at)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_millis(200);

    fn key(kind: &str, name: &str) -> ObjectKey {
        ObjectKey::new("", kind, "infra", name)
    }

    #[test]
    fn some_go_first_and_nothing_is_worked_on_twice_at_once() {
        let mut agenda = Agenda::default();
        let now = Instant::now();
        let first = |key: &ObjectKey| &*key.kind == "Gateway";
        agenda.add(key("A", "route"), now);
        agenda.add(key("Gateway", "web"), now);
        agenda.add(key("Gateway", "later"), now + SOON);
        assert_eq!(agenda.take(now, first), Some(key("Gateway", "web")));
        agenda.add(key("Gateway", "web"), now);
        assert_eq!(agenda.take(now, first), Some(key("A", "route")));
        assert_eq!(agenda.take(now, first), None);
        agenda.done(&key("Gateway", "web"), now + SOON);
        assert_eq!(agenda.take(now, first), None);
        assert_eq!(agenda.next_at(), Some(now + SOON));
        let later = now + SOON;
        assert_eq!(agenda.take(later, first), Some(key("Gateway", "later")));
        assert_eq!(agenda.take(later, first), Some(key("Gateway", "web")));
    }
}
