//! Which of several operators works: the one that holds a Lease of the cluster.
//!
//! Others than the holder judge it by their own clocks, from when they saw it renewed, so clocks may differ. A
//! holder that is late notices by itself; what it wrote to configd meanwhile, the session there refuses.

use std::sync::Arc;
use std::time::Duration;

use crate::error::chain;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

/// How long a holder counts without renewing.
const LEASE: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long stops, before others may begin.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Time that a look may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// Whether this process leads; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Leadership(Arc<watch::Sender<bool>>);

impl Leadership {
    /// Not yet.
    pub(crate) fn standing_by() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Where nobody else can be.
    pub(crate) fn assumed() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    /// Waits until it leads.
    pub(crate) async fn held(&self) {
        // The sender lives as long as self.
        let _ = self.0.subscribe().wait_for(|leads| *leads).await;
    }

    /// Waits until it does not lead.
    pub(crate) async fn lost(&self) {
        let _ = self.0.subscribe().wait_for(|leads| !*leads).await;
    }

    fn set(&self, leads: bool) {
        if self.0.send_replace(leads) != leads {
            match leads {
                true => info!("This operator leads."),
                false => warn!("This operator does not lead any more."),
            }
        }
    }
}

/// Which Lease it is.
#[derive(Debug, Clone)]
pub(crate) struct LeaseOptions {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The ServiceAccount of its namespace that it goes with, so that nothing is left of an installation.
    pub(crate) owner: Option<String>,
}

/// Runs for the Lease.
pub(crate) struct Candidate {
    pub(crate) leases: Api<Lease>,
    accounts: Api<ServiceAccount>,
    pub(crate) name: String,
    owner: Option<String>,
    pub(crate) holder: String,
    pub(crate) leadership: Leadership,
}

/// What a candidate saw of the Lease, and when it was different for the first time.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    since: Instant,
}

impl Candidate {
    pub(crate) fn new(client: Client, lease: LeaseOptions, holder: String) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), &lease.namespace),
            accounts: Api::namespaced(client, &lease.namespace),
            name: lease.name,
            owner: lease.owner,
            holder,
            leadership: Leadership::standing_by(),
        }
    }

    /// Takes, keeps and watches the Lease until it is dropped.
    pub(crate) async fn run(self) {
        let mut seen: Option<Seen> = None;
        let mut renewed = Instant::now();
        let mut said = String::new();
        loop {
            let look = tokio::time::timeout(CALL_TIMEOUT, self.look(&mut seen)).await;
            match look {
                Ok(Ok(leads)) => {
                    renewed = Instant::now();
                    said.clear();
                    self.leadership.set(leads);
                }
                failure => {
                    let cause = match failure {
                        Ok(Err(error)) => chain(&error),
                        _ => "the API server does not answer in time".to_owned(),
                    };
                    if cause != said {
                        warn!(
                            lease = self.name,
                            cause, "The Lease cannot be read or written."
                        );
                        said = cause;
                    }
                    if renewed.elapsed() > GIVE_UP {
                        self.leadership.set(false);
                    }
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Gives the Lease back, so that nobody waits for its end.
    pub(crate) async fn release(leases: &Api<Lease>, name: &str, holder: &str) {
        let Ok(mut lease) = leases.get(name).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(holder) {
            spec.holder_identity = None;
            let _ = leases.replace(name, &PostParams::default(), &lease).await;
        }
    }

    /// Whether this one leads, after it has done what it can for it.
    async fn look(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            return self.create().await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let is_own = spec.holder_identity.as_deref() == Some(&self.holder);
        if !is_own && !is_free(&spec, seen) {
            return Ok(false);
        }
        self.take(lease, is_own).await
    }

    async fn create(&self) -> Result<bool, kube::Error> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                owner_references: self.owner().await?,
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(&LeaseSpec::default(), false)),
        };
        let created = self.leases.create(&PostParams::default(), &lease).await;
        won(created)
    }

    async fn take(&self, mut lease: Lease, is_own: bool) -> Result<bool, kube::Error> {
        let before = lease.spec.take().unwrap_or_default();
        lease.spec = Some(self.spec(&before, is_own));
        if !is_own {
            lease.metadata.owner_references = self.owner().await?;
        }
        let replaced = self
            .leases
            .replace(&self.name, &PostParams::default(), &lease)
            .await;
        won(replaced)
    }

    /// Whom the Lease belongs to; an installation that is made anew has another one.
    async fn owner(&self) -> Result<Option<Vec<OwnerReference>>, kube::Error> {
        let Some(name) = &self.owner else {
            return Ok(None);
        };
        let account = self.accounts.get_metadata(name).await?;
        Ok(Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            uid: account.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        }]))
    }

    fn spec(&self, before: &LeaseSpec, is_own: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: match is_own {
                true => before.acquire_time.clone(),
                false => Some(now),
            },
            lease_transitions: Some(if is_own { transitions } else { transitions + 1 }),
            ..before.clone()
        }
    }
}

/// Another candidate may have been faster.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether nobody holds it, or its holder was not heard of for as long as its lease.
fn is_free(spec: &LeaseSpec, seen: &mut Option<Seen>) -> bool {
    let Some(holder) = spec
        .holder_identity
        .clone()
        .filter(|holder| !holder.is_empty())
    else {
        return true;
    };
    let now = Instant::now();
    let found = Seen {
        holder: Some(holder),
        renewed: spec.renew_time.clone(),
        since: now,
    };
    let known = seen.get_or_insert_with(|| found.clone());
    if (&known.holder, &known.renewed) != (&found.holder, &found.renewed) {
        *known = found;
    }
    let seconds = spec.lease_duration_seconds.unwrap_or(0);
    let lease = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).max(LEASE);
    now.duration_since(known.since) > lease
}
