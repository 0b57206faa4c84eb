//! `tidegate sources`: who feeds objects, who is silent, and which deletions wait.

mod policy;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_proto::objects::v1::ObjectKey;
use tidegate_proto::sources::v1::{
    ConfirmDeletionsRequest, HeldDeletions, ListSourcesRequest, Session, Source, SourcePolicy,
    SourceState,
};

use super::get::short_duration;
use super::output::{Output, json_text, time};
use super::snapshots::marks::WhyArgs;
use super::write_out;
use crate::api::{ServerArgs, failure};
use crate::table::Table;

const CONFIRM_EXAMPLES: &str = "\
Examples:
  tidegate sources list eu-1                       what is held, and its id
  tidegate sources confirm-deletions eu-1 4711 -m 'the shop moved to eu-2'
";

/// Where objects come from.
#[derive(Debug, Subcommand)]
pub(crate) enum SourcesCommand {
    /// List the sources: how much each has, whether it is heard of, and what is held
    List(ListArgs),
    /// Carry out the deletions of a full set that are held because they are many
    #[command(before_help = CONFIRM_EXAMPLES)]
    ConfirmDeletions(ConfirmArgs),
    /// Say how much a source may have, which deletions are held, and what becomes of it when it is silent
    #[command(before_help = policy::EXAMPLES)]
    Policy(policy::PolicyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this source, with what is held of it
    #[arg(default_value = "", hide_default_value = true)]
    source: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// The source
    source: String,
    /// Which deletions: the id that `list` shows; exit code 4 if others are held by now
    id: u64,
    #[command(flatten)]
    why: WhyArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Does it.
pub(crate) async fn run(command: SourcesCommand) -> anyhow::Result<()> {
    let text = match command {
        SourcesCommand::List(args) => list(args).await?,
        SourcesCommand::ConfirmDeletions(args) => confirm(args).await?,
        SourcesCommand::Policy(args) => policy::set(args).await?,
    };
    Ok(write_out(&text)?)
}

async fn list(args: ListArgs) -> anyhow::Result<String> {
    let mut api = args.server.connect().await?;
    let alone = !args.source.is_empty();
    let request = ListSourcesRequest {
        source: args.source,
    };
    let answer = api.sources.list_sources(request).await.map_err(failure)?;
    let sources = answer.into_inner().sources;
    Ok(match args.output {
        Output::Json => {
            let sources: Vec<_> = sources.iter().map(source_json).collect();
            json_text(json!({"sources": sources}))
        }
        Output::Table if alone => table(&sources) + &held_text(&sources),
        Output::Table => table(&sources),
    })
}

async fn confirm(args: ConfirmArgs) -> anyhow::Result<String> {
    let mut api = args.server.connect().await?;
    let request = ConfirmDeletionsRequest {
        source: args.source,
        id: args.id,
        requested_by: args.why.by,
        reason: args.why.reason,
    };
    let answer = api.sources.confirm_deletions(request).await;
    let done = answer.map_err(failure)?.into_inner();
    let (revision, deleted) = (done.revision, done.deleted);
    Ok(match args.output {
        Output::Table => format!("revision {revision}: {deleted} deleted\n"),
        Output::Json => json_text(json!({"revision": revision, "deleted": deleted})),
    })
}

fn table(sources: &[Source]) -> String {
    let now = jiff::Timestamp::now().as_millisecond();
    let since = |unix_ms: i64| short_duration(now.saturating_sub(unix_ms).max(0) / 1_000);
    let mut table = Table::new(&[
        "SOURCE", "STATE", "OBJECTS", "BYTES", "SESSION", "WRITER", "HEARD", "RESYNC", "HELD",
    ]);
    for source in sources {
        let session = source.session.as_ref();
        let held = source.held.as_ref();
        let resync = match (source.resync_due, source.resynced_at_unix_ms) {
            (true, _) => "due".to_owned(),
            (false, 0) => String::new(),
            (false, at) => since(at),
        };
        table.row([
            source.name.clone(),
            state(source).to_owned(),
            source.objects.to_string(),
            source.bytes.to_string(),
            session.map_or_else(String::new, |session| session.number.to_string()),
            session.map_or_else(String::new, |session| session.opened_by.clone()),
            session.map_or_else(String::new, |session| since(session.renewed_at_unix_ms)),
            resync,
            held.map_or_else(String::new, |held| {
                format!("{} of {}, id {}", held.objects, held.of, held.id)
            }),
        ]);
    }
    table.render()
}

/// What is held of one source, by name.
fn held_text(sources: &[Source]) -> String {
    let held = sources.iter().filter_map(|source| source.held.as_ref());
    let mut text = String::new();
    for held in held {
        for key in &held.first {
            text += &format!("held  delete {}\n", name(key));
        }
        let more = held.objects.saturating_sub(held.first.len() as u64);
        if more > 0 {
            text += &format!("held  and {more} more\n");
        }
    }
    text
}

fn state(source: &Source) -> &'static str {
    match source.state() {
        SourceState::Unspecified => "unknown",
        SourceState::NoLease => "no lease",
        SourceState::Live => "live",
        SourceState::Stale => "stale",
        SourceState::Withdrawn => "withdrawn",
    }
}

fn name(key: &ObjectKey) -> String {
    if key.namespace.is_empty() {
        format!("{} {}", key.kind, key.name)
    } else {
        format!("{} {}/{}", key.kind, key.namespace, key.name)
    }
}

fn source_json(source: &Source) -> Value {
    json!({
        "name": source.name,
        "state": state(source),
        "objects": source.objects,
        "bytes": source.bytes,
        "session": source.session.as_ref().map(session_json),
        "resyncDue": source.resync_due,
        "resyncedAt": time_or_null(source.resynced_at_unix_ms),
        "withdrawnAt": source.withdrawn_at_unix_ms.map(time),
        "held": source.held.as_ref().map(held_json),
        "staged": {"objects": source.staged_objects, "bytes": source.staged_bytes},
        "policy": policy_json(source.policy.as_ref()),
    })
}

fn session_json(session: &Session) -> Value {
    json!({
        "number": session.number,
        "openedBy": session.opened_by,
        "openedAt": time(session.opened_at_unix_ms),
        "incarnation": session.incarnation,
        "leaseMs": session.lease_ms,
        "heardAt": time(session.renewed_at_unix_ms),
        "sequence": session.sequence,
    })
}

fn held_json(held: &HeldDeletions) -> Value {
    json!({
        "id": held.id,
        "since": time(held.since_unix_ms),
        "objects": held.objects,
        "of": held.of,
        "first": held.first.iter().map(name).collect::<Vec<_>>(),
    })
}

fn policy_json(policy: Option<&SourcePolicy>) -> Value {
    policy.map_or(Value::Null, |policy| {
        json!({
            "objectsMax": policy.objects_max,
            "bytesMax": policy.bytes_max,
            "holdPercent": policy.hold_percent,
            "holdMin": policy.hold_min,
            "withdrawAfterMs": policy.withdraw_after_ms,
        })
    })
}

fn time_or_null(unix_ms: i64) -> Value {
    match unix_ms {
        0 => Value::Null,
        at => time(at),
    }
}
