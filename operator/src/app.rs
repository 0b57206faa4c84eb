//! Wires everything together; the one place that knows all parts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tidegate_runtime::drain::Drain;
use tidegate_runtime::metrics::Metrics;
use tidegate_runtime::ready::Readiness;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cluster::{Discovery, Mirror, Resources};
use crate::configd::Configds;
use crate::events::Events;
use crate::feed::Feed;
use crate::gateway::{Children, PoolSettings, Reconciler, follow_children};
use crate::kinds::GATEWAY_GROUP;
use crate::lease::{Candidate, Leadership, LeaseOptions};
use crate::metrics::OperatorMetrics;
use crate::statuses::{Board, Bundle, Follower, Writer};

/// Whose uid says which cluster it is (KEP-2149).
const INCARNATION_NAMESPACE: &str = "kube-system";

/// What an operator is started with.
pub(crate) struct OperatorOptions {
    pub(crate) client: Client,
    pub(crate) configds: Configds,
    /// The name of the cluster at configd.
    pub(crate) source: String,
    /// How long the source may be silent before it is stale.
    pub(crate) source_lease: Duration,
    /// Unique name of this process.
    pub(crate) name: String,
    /// `None` where no other operator runs.
    pub(crate) lease: Option<LeaseOptions>,
    pub(crate) pools: PoolSettings,
}

/// Starts an operator, which ends with `drain`.
///
/// # Errors
/// The API server must answer.
pub(crate) async fn start(
    options: OperatorOptions,
    metrics: &Metrics,
    readiness: &Readiness,
    drain: &Drain,
) -> anyhow::Result<()> {
    let condition = readiness.condition("cluster", "the objects of the cluster are not known yet");
    let client = options.client;
    let incarnation = incarnation(&client).await?;
    let metrics = OperatorMetrics::new(metrics);
    let (mirror, resources, board) = (Mirror::new(), Resources::default(), Board::default());
    let leadership = lead(&client, options.lease, &options.name, drain);
    let (events, event_writer) = Events::new(client.clone(), resources.clone());
    let revision = watch::Sender::new(0);
    let pools = Arc::new(options.pools);
    let bundle = Bundle::default();
    let children = Children::default();
    let discovery = Discovery {
        client: client.clone(),
        mirror: mirror.clone(),
        resources: resources.clone(),
        tasks: drain.tasks().clone(),
        end: end_of(drain),
    };
    let follower = Follower {
        configds: options.configds.clone(),
        source: options.source.clone(),
        controller: pools.controller.to_string(),
        board: board.clone(),
        mirror: mirror.clone(),
        leadership: leadership.clone(),
        revision: revision.subscribe(),
    };
    let writer = Writer {
        client: client.clone(),
        mirror: mirror.clone(),
        resources: resources.clone(),
        board: board.clone(),
        controller: pools.controller.clone(),
        bundle: bundle.clone(),
        events: events.clone(),
        leadership: leadership.clone(),
        metrics: metrics.clone(),
    };
    let reconciler = Reconciler {
        client: client.clone(),
        mirror: mirror.clone(),
        resources,
        board: board.clone(),
        children: children.clone(),
        settings: pools,
        events: events.clone(),
        leadership: leadership.clone(),
        metrics: metrics.clone(),
    };
    let feed = Feed {
        mirror,
        configds: options.configds,
        source: options.source,
        incarnation,
        lease: options.source_lease,
        writer: options.name,
        leadership: leadership.clone(),
        events,
        metrics: metrics.clone(),
        condition,
        revision,
    };
    let classes_anew = move || {
        for (key, class) in board.of_kind(GATEWAY_GROUP, "GatewayClass") {
            board.set(&key, Some(class));
        }
    };
    spawn(drain, "leadership", count_leadership(leadership, metrics));
    spawn(drain, "bundle", bundle.follow(client.clone(), classes_anew));
    spawn(drain, "children", follow_children(client, children));
    spawn(drain, "events", event_writer.run());
    spawn(drain, "discovery", discovery.run());
    spawn(drain, "statuses in", follower.run());
    spawn(drain, "statuses out", writer.run());
    spawn(drain, "pools", reconciler.run());
    spawn(drain, "feed", feed.run());
    Ok(())
}

/// Runs a part until the drain.
fn spawn<F>(drain: &Drain, name: &'static str, part: F)
where
    F: Future + Send + 'static,
{
    let end = drain.clone();
    drain.tasks().spawn(name, async move {
        tokio::select! {
            () = end.started() => {}
            _ = part => {}
        }
    });
}

/// Cancelled when the drain starts.
fn end_of(drain: &Drain) -> CancellationToken {
    let (token, drain) = (CancellationToken::new(), drain.clone());
    let end = token.clone();
    let tasks = drain.tasks().clone();
    tasks.spawn("end", async move {
        drain.started().await;
        end.cancel();
    });
    token
}

async fn incarnation(client: &Client) -> anyhow::Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_metadata(INCARNATION_NAMESPACE).await;
    let found = found.with_context(|| {
        format!("the namespace {INCARNATION_NAMESPACE} cannot be read at the API server")
    })?;
    Ok(found.metadata.uid.unwrap_or_default())
}

/// Runs for the Lease, or leads at once where there is none.
fn lead(client: &Client, lease: Option<LeaseOptions>, holder: &str, drain: &Drain) -> Leadership {
    let Some(lease) = lease else {
        return Leadership::assumed();
    };
    info!(
        namespace = lease.namespace,
        lease = lease.name,
        "Operators of this cluster share a Lease."
    );
    let candidate = Candidate::new(client.clone(), lease, holder.to_owned());
    let leadership = candidate.leadership.clone();
    let end = drain.clone();
    drain.tasks().spawn("lease", async move {
        let (leases, name) = (candidate.leases.clone(), candidate.name.clone());
        let holder = candidate.holder.clone();
        tokio::select! {
            () = end.started() => {}
            () = candidate.run() => {}
        }
        Candidate::release(&leases, &name, &holder).await;
    });
    leadership
}

async fn count_leadership(leadership: Leadership, metrics: OperatorMetrics) {
    loop {
        leadership.held().await;
        metrics.leads.set(1);
        leadership.lost().await;
        metrics.leads.set(0);
    }
}

#[cfg(test)]
mod tests;
