//! `tidegate workers`: which worker serves which snapshot, and what it refused.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use tidegate_ir::{PartKey, PartKind};
use tidegate_proto::history::v1::ListPoolsRequest;
use tidegate_proto::snapshots::v1::{ListWorkersRequest, Nack, Worker};

use super::get::short_duration;
use super::output::{Output, json_text, time};
use super::write_out;
use crate::api::{Api, ServerArgs, failure};
use crate::table::Table;

/// Which workers.
#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    /// Pool of workers; all pools without it
    #[arg(long, default_value = "")]
    pool: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists them.
pub(crate) async fn run(args: WorkersArgs) -> anyhow::Result<()> {
    let api = args.server.connect().await?;
    let newest = newest(&api).await?;
    let request = ListWorkersRequest {
        pool: args.pool,
        ..ListWorkersRequest::default()
    };
    let answer = api.snapshots.clone().list_workers(request).await;
    let workers = answer.map_err(failure)?.into_inner().workers;
    let lag = |worker: &Worker| {
        let newest = newest.get(&worker.pool).copied().unwrap_or(0);
        newest.saturating_sub(serves(worker))
    };
    let text = match args.output {
        Output::Table => table(&workers, lag),
        Output::Json => {
            let workers = workers
                .iter()
                .map(|worker| worker_json(worker, lag(worker)));
            json_text(json!({"workers": workers.collect::<Vec<_>>()}))
        }
    };
    Ok(write_out(&text)?)
}

/// The newest version of every pool.
async fn newest(api: &Api) -> anyhow::Result<BTreeMap<String, u64>> {
    let answer = api.history.clone().list_pools(ListPoolsRequest {}).await;
    let pools = answer.map_err(failure)?.into_inner().pools;
    let newest = pools.into_iter().map(|pool| {
        let id = pool.newest.and_then(|info| info.id);
        (pool.name, id.map_or(0, |id| id.version))
    });
    Ok(newest.collect())
}

fn serves(worker: &Worker) -> u64 {
    worker.serving.as_ref().map_or(0, |id| id.version)
}

fn table(workers: &[Worker], lag: impl Fn(&Worker) -> u64) -> String {
    let mut table = Table::new(&["POOL", "WORKER", "SERVES", "LAG", "CONNECTED", "REFUSED"]);
    let now = jiff::Timestamp::now().as_millisecond();
    for worker in workers {
        let connected = now.saturating_sub(worker.connected_at_unix_ms).max(0) / 1_000;
        table.row([
            worker.pool.clone(),
            worker.name.clone(),
            serves(worker).to_string(),
            lag(worker).to_string(),
            short_duration(connected),
            worker.last_nack.as_ref().map(refused).unwrap_or_default(),
        ]);
    }
    table.render()
}

/// "8: Route HTTPRoute/shop/cart: no such backend (and 2 more)".
fn refused(nack: &Nack) -> String {
    let version = nack.id.as_ref().map_or(0, |id| id.version);
    let Some(first) = problems(nack).next() else {
        return version.to_string();
    };
    let text = match first {
        (Some(part), message) => format!("{version}: {part}: {message}"),
        (None, message) => format!("{version}: {message}"),
    };
    match nack.problems.len() - 1 {
        0 => text,
        more => format!("{text} (and {more} more)"),
    }
}

/// Parts with what is wrong with them.
fn problems(nack: &Nack) -> impl Iterator<Item = (Option<String>, &str)> {
    nack.problems.iter().map(|problem| {
        let part = problem.part.as_ref().and_then(|part| {
            let kind = PartKind::from_number(part.kind)?;
            Some(PartKey::new(kind, part.name.as_str()).to_string())
        });
        (part, problem.message.as_str())
    })
}

fn worker_json(worker: &Worker, lag: u64) -> Value {
    let refused = worker.last_nack.as_ref().map(|nack| {
        let problems = problems(nack);
        let problems = problems.map(|(part, message)| json!({"part": part, "message": message}));
        json!({
            "version": nack.id.as_ref().map_or(0, |id| id.version),
            "problems": problems.collect::<Vec<_>>(),
        })
    });
    let listeners = worker
        .listeners
        .iter()
        .map(|bound| json!({"listener": bound.listener, "address": bound.address}));
    json!({
        "pool": worker.pool,
        "name": worker.name,
        "serves": serves(worker),
        "lag": lag,
        "connectedAt": time(worker.connected_at_unix_ms),
        "refused": refused,
        "listeners": listeners.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use tidegate_proto::ir::v1 as ir;
    use tidegate_proto::snapshots::v1::{Problem, SnapshotId};

    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_the_part() {
        let part = Some(ir::PartKey {
            kind: 2,
            name: "HTTPRoute/shop/cart".to_owned(),
        });
        let message = "no such backend".to_owned();
        let problem = Problem { part, message };
        let id = Some(SnapshotId {
            version: 8,
            ..SnapshotId::default()
        });
        let nack = Nack {
            id,
            problems: vec![problem.clone(), problem],
        };
        let text = "8: Route HTTPRoute/shop/cart: no such backend (and 1 more)";
        assert_eq!(refused(&nack), text);
    }
}
