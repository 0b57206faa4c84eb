//! When each source gave its last sign of life, by this process's own clock. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_store::Source;

/// Sources with a lease, at least, before many silent ones mean that it is not they who are cut off.
const BRAKE_MIN: usize = 3;

/// Whether a source is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody said how long it may be silent.
    NoLease,
    /// Within its lease.
    Live,
    /// Not within its lease.
    Stale,
    /// Its objects were withdrawn.
    Withdrawn,
}

/// Signs of life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    /// The log index of each source's last one, and since when this process knows of it.
    heard: BTreeMap<Arc<str>, (u64, Instant)>,
}

impl Leases {
    /// Notes who gave a sign of life.
    pub(crate) fn observe(&mut self, sources: &[(Arc<str>, Source)], now: Instant) {
        let mut heard = std::mem::take(&mut self.heard);
        for (name, source) in sources {
            let Some(session) = &source.session else {
                continue;
            };
            let before = heard.remove(name);
            let known = before.filter(|(renewed, _)| *renewed == session.renewed);
            let entry = known.unwrap_or((session.renewed, now));
            self.heard.insert(name.clone(), entry);
        }
    }

    /// Forgets everything, so that every source has a whole lease again.
    pub(crate) fn forget(&mut self) {
        self.heard.clear();
    }

    /// Whether a source is heard of.
    pub(crate) fn standing(&self, name: &str, source: &Source, now: Instant) -> Standing {
        if source.withdrawn_at_unix_ms.is_some() {
            return Standing::Withdrawn;
        }
        match lease(source) {
            None => Standing::NoLease,
            Some(lease) if self.silent(name, source, now) > lease => Standing::Stale,
            Some(_) => Standing::Live,
        }
    }

    /// Who is silent for so long that its objects are to go, and the log index of its last sign of life. Nobody where
    /// more than half of those with a lease are silent: then it may well be this process that is cut off.
    pub(crate) fn due(&self, sources: &[(Arc<str>, Source)], now: Instant) -> Vec<(Arc<str>, u64)> {
        let leased = sources.iter().filter(|(_, source)| lease(source).is_some());
        let leased: Vec<_> = leased.collect();
        let stale = |(name, source): &&&(Arc<str>, Source)| {
            self.standing(name, source, now) == Standing::Stale
        };
        let silent: Vec<_> = leased.iter().filter(stale).collect();
        if leased.len() >= BRAKE_MIN && silent.len() * 2 > leased.len() {
            return vec![];
        }
        let due = silent.into_iter().filter(|(name, source)| {
            let after = source.policy.withdraw_after_ms.map(Duration::from_millis);
            let limit = lease(source).zip(after).map(|(lease, after)| lease + after);
            limit.is_some_and(|limit| self.silent(name, source, now) > limit)
        });
        let renewed = |source: &Source| source.session.as_ref().map(|session| session.renewed);
        due.filter_map(|(name, source)| Some((name.clone(), renewed(source)?)))
            .collect()
    }

    /// Time since the last sign of life, as far as it was seen.
    fn silent(&self, name: &str, source: &Source, now: Instant) -> Duration {
        let renewed = source.session.as_ref().map(|session| session.renewed);
        match self.heard.get(name) {
            Some((seen, since)) if Some(*seen) == renewed => now.saturating_duration_since(*since),
            _ => Duration::ZERO,
        }
    }
}

/// How long a source may be silent; `None` for ever.
fn lease(source: &Source) -> Option<Duration> {
    let session = source.session.as_ref()?;
    (session.lease_ms > 0).then(|| Duration::from_millis(session.lease_ms))
}

#[cfg(test)]
mod tests {
    use tidegate_store::{Policy, Session};

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn source(name: &str, renewed: u64) -> (Arc<str>, Source) {
        let mut session = Session::default();
        (session.lease_ms, session.renewed) = (30_000, renewed);
        let mut source = Source::default();
        source.session = Some(session);
        source.policy.withdraw_after_ms = Some(60_000);
        (name.into(), source)
    }

    fn standing(leases: &Leases, (name, source): &(Arc<str>, Source), now: Instant) -> Standing {
        leases.standing(name, source, now)
    }

    #[test]
    fn a_source_is_stale_after_its_lease_and_live_with_the_next_sign_of_life() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.observe(&[source("eu", 1)], start);
        let late = start + LEASE + Duration::from_secs(1);
        assert_eq!(
            standing(&leases, &source("eu", 1), start + LEASE),
            Standing::Live
        );
        assert_eq!(standing(&leases, &source("eu", 1), late), Standing::Stale);
        leases.observe(&[source("eu", 2)], late);
        assert_eq!(standing(&leases, &source("eu", 2), late), Standing::Live);
    }

    #[test]
    fn only_who_is_silent_for_lease_and_grace_is_due() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let sources = [source("eu", 1), source("us", 2)];
        leases.observe(&sources, start);
        let later = start + LEASE + Duration::from_secs(61);
        leases.observe(&[source("eu", 1), source("us", 9)], later);
        let sources = [source("eu", 1), source("us", 9)];
        assert_eq!(leases.due(&sources, start + LEASE * 2), vec![]);
        assert_eq!(leases.due(&sources, later), vec![("eu".into(), 1)]);
        let mut kept = sources.clone();
        kept[0].1.policy = Policy::default();
        assert_eq!(leases.due(&kept, later), vec![]);
    }

    #[test]
    fn nobody_is_withdrawn_while_most_are_silent() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let sources = [source("eu", 1), source("us", 2), source("asia", 3)];
        leases.observe(&sources, start);
        let later = start + LEASE + Duration::from_secs(61);
        let heard = [source("eu", 1), source("us", 2), source("asia", 4)];
        leases.observe(&heard, later);
        assert_eq!(leases.due(&heard, later), vec![]);
        let heard = [source("eu", 1), source("us", 5), source("asia", 4)];
        leases.observe(&heard, later);
        assert_eq!(leases.due(&heard, later), vec![("eu".into(), 1)]);
    }

    #[test]
    fn everybody_has_a_whole_lease_under_a_new_leader() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.observe(&[source("eu", 1)], start);
        let later = start + LEASE * 10;
        leases.forget();
        leases.observe(&[source("eu", 1)], later);
        assert_eq!(
            standing(&leases, &source("eu", 1), later + LEASE),
            Standing::Live
        );
    }
}
