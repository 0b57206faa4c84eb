//! Backends whose addresses come from the DNS: looked up in the background, as long as they are in use.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use tidegate_ir::{Balancing, PartName};
use tidegate_runtime::tasks::Tasks;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::members::Members;

/// Answers are asked for again no sooner than this, and after a failure.
const LOOKUP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Answers are asked for again no later than this, whatever their time to live.
const LOOKUP_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// After failures in a row, answers are asked for again no later than this.
const FAILED_LOOKUP_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Old addresses are used for that long while no server answers.
const STALE_MAX: Duration = Duration::from_secs(3_600);

/// A request waits that long for the first answer.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one name; more are left out.
const ADDRESSES_MAX: usize = 256;

/// Looks names up.
#[derive(Clone)]
pub(crate) struct Dns {
    resolver: Option<TokioResolver>,
    tasks: Tasks,
    stop: CancellationToken,
    known: Arc<Mutex<HashMap<Key, Weak<Resolved>>>>,
}

/// What a name is looked up for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    backend: PartName,
    hostname: Arc<str>,
    port: u16,
    balancing: String,
}

/// The endpoints behind a name, as of the last answer.
#[derive(Debug)]
pub(crate) struct Resolved {
    key: Key,
    balancing: Balancing,
    members: RwLock<Arc<Members>>,
    answered: watch::Sender<bool>,
}

impl Dns {
    /// Uses the resolvers of the system (`/etc/resolv.conf`), until `stop`.
    pub(crate) fn new(tasks: Tasks, stop: CancellationToken) -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        if let Err(error) = &resolver {
            tracing::warn!(%error, "names of backends cannot be looked up; see /etc/resolv.conf");
        }
        Self::by(resolver.ok(), tasks, stop)
    }

    fn by(resolver: Option<TokioResolver>, tasks: Tasks, stop: CancellationToken) -> Self {
        Self {
            resolver,
            tasks,
            stop,
            known: Arc::default(),
        }
    }

    /// The endpoints behind a name; it is looked up again and again until nobody uses them any more.
    pub(crate) fn resolve(
        &self,
        backend: &PartName,
        hostname: &Arc<str>,
        port: u16,
        balancing: &Balancing,
    ) -> Arc<Resolved> {
        let key = Key {
            backend: backend.clone(),
            hostname: hostname.clone(),
            port,
            balancing: format!("{balancing:?}"),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, resolved| resolved.strong_count() > 0);
        if let Some(resolved) = known.get(&key).and_then(Weak::upgrade) {
            return resolved;
        }
        let none = Members::new(backend.clone(), balancing, std::iter::empty(), None);
        let resolved = Arc::new(Resolved {
            key: key.clone(),
            balancing: balancing.clone(),
            members: RwLock::new(Arc::new(none)),
            answered: watch::Sender::new(false),
        });
        known.insert(key, Arc::downgrade(&resolved));
        drop(known);
        self.start(&resolved);
        resolved
    }

    fn start(&self, resolved: &Arc<Resolved>) {
        // An address needs no lookup.
        if let Ok(ip) = resolved.key.hostname.parse::<IpAddr>() {
            resolved.take(vec![ip]);
            return;
        }
        let Some(resolver) = self.resolver.clone() else {
            resolved.answered.send_replace(true);
            return;
        };
        let resolved = Arc::downgrade(resolved);
        let looking = self
            .stop
            .clone()
            .run_until_cancelled_owned(keep_up(resolver, resolved));
        self.tasks.spawn("backend lookup", looking);
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

impl Resolved {
    pub(super) fn members(&self) -> Arc<Members> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.clone()
    }

    /// Waits until there was an answer, good or bad, within bounds.
    pub(super) async fn ready(&self) {
        if *self.answered.borrow() {
            return;
        }
        let mut answered = self.answered.subscribe();
        let answer = answered.wait_for(|answered| *answered);
        let _ = tokio::time::timeout(FIRST_ANSWER_TIMEOUT, answer).await;
    }

    fn take(&self, mut addresses: Vec<IpAddr>) {
        addresses.sort();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        let endpoints = addresses.into_iter();
        let endpoints = endpoints.map(|ip| (SocketAddr::new(ip, self.key.port), false));
        let previous = self.members();
        let name = self.key.backend.clone();
        let members = Members::new(name, &self.balancing, endpoints, Some(&*previous));
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
        self.answered.send_replace(true);
    }
}

/// Looks a name up until nobody uses it any more.
async fn keep_up(resolver: TokioResolver, resolved: Weak<Resolved>) {
    let mut last_good = Instant::now();
    let mut failures = 0_u32;
    while let Some(now) = resolved.upgrade() {
        let hostname = now.key.hostname.clone();
        // The dot keeps the search list of the system out.
        let answer = resolver.lookup_ip(format!("{hostname}.")).await;
        let next = match answer {
            Ok(answer) => {
                last_good = Instant::now();
                failures = 0;
                now.take(answer.iter().collect());
                answer.valid_until().saturating_duration_since(last_good)
            }
            Err(error) => {
                // Said once for failures in a row, so that a name that is gone does not flood the log.
                if failures == 0 {
                    tracing::warn!(%hostname, %error, "a backend's name was not found; its last addresses stay in use");
                } else {
                    tracing::debug!(%hostname, %error, failures, "a backend's name is still not found");
                }
                failures = failures.saturating_add(1);
                if last_good.elapsed() > STALE_MAX {
                    now.take(vec![]);
                }
                now.answered.send_replace(true);
                let longer = LOOKUP_INTERVAL_MIN * 2_u32.pow((failures - 1).min(5));
                longer.min(FAILED_LOOKUP_INTERVAL_MAX)
            }
        };
        drop(now);
        tokio::time::sleep(next.clamp(LOOKUP_INTERVAL_MIN, LOOKUP_INTERVAL_MAX)).await;
    }
}

#[cfg(test)]
mod tests;
