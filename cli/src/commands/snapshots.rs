//! `tidegate snapshots`: the history of what workers were given, and the ways back in it.

mod blame;
pub(crate) mod marks;
mod rollback;

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_ir::fields;
use tidegate_proto::snapshots::v1::{
    ChangeType, DiffSnapshotsRequest, ListSnapshotsRequest, PartChange, SnapshotInfo,
};

use super::get::short_duration;
use super::output::{Output, hex, info_json, json_text};
use super::write_out;
use crate::api::{ServerArgs, failure};
use crate::table::Table;

/// Which question.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsCommand {
    /// List snapshots, the newest first
    List(ListArgs),
    /// Show what is in a snapshot
    Show(ShowArgs),
    /// Show what differs between two snapshots
    #[command(
        before_help = "Examples:\n  tidegate snapshots diff        the last change\n  tidegate snapshots diff 3 7\n"
    )]
    Diff(DiffArgs),
    /// Serve an older snapshot's content again, and hold it
    #[command(before_help = rollback::EXAMPLES)]
    Rollback(rollback::RollbackArgs),
    /// Hold a pool at its newest snapshot; only addresses of endpoints are followed
    Freeze(marks::HoldArgs),
    /// Let a pool follow the objects again
    Unfreeze(marks::HoldArgs),
    /// Keep a snapshot until it is unpinned
    Pin(marks::PinArgs),
    /// Let a snapshot go when it is old
    Unpin(marks::PinArgs),
    /// Name a snapshot, and keep it while it has the name
    Label(marks::LabelArgs),
    /// Take a name away
    Unlabel(marks::UnlabelArgs),
    /// Show which snapshot changed each part of an object last
    #[command(before_help = blame::EXAMPLES)]
    Blame(blame::BlameArgs),
}

/// Which history.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Pool of workers; all pools without it
    #[arg(long, default_value = "")]
    pool: String,
    /// At most this many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which snapshot.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Version; the newest without it
    #[arg(default_value_t = 0, hide_default_value = true)]
    version: u64,
    /// Pool of workers; needed where there are several
    #[arg(long, default_value = "")]
    pool: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which two snapshots.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Version to start from; the one before without it
    #[arg(default_value_t = 0, hide_default_value = true)]
    from: u64,
    /// Version to arrive at; the newest without it
    #[arg(default_value_t = 0, hide_default_value = true)]
    to: u64,
    /// Pool of workers; needed where there are several
    #[arg(long, default_value = "")]
    pool: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Answers the question.
pub(crate) async fn run(command: SnapshotsCommand) -> anyhow::Result<()> {
    let text = match command {
        SnapshotsCommand::List(args) => list(args).await?,
        SnapshotsCommand::Show(args) => show(args).await?,
        SnapshotsCommand::Diff(args) => diff(args).await?,
        SnapshotsCommand::Rollback(args) => rollback::run(args).await?,
        SnapshotsCommand::Freeze(args) => marks::freeze(args).await?,
        SnapshotsCommand::Unfreeze(args) => marks::unfreeze(args).await?,
        SnapshotsCommand::Pin(args) => marks::pin(args).await?,
        SnapshotsCommand::Unpin(args) => marks::unpin(args).await?,
        SnapshotsCommand::Label(args) => marks::label(args).await?,
        SnapshotsCommand::Unlabel(args) => marks::unlabel(args).await?,
        SnapshotsCommand::Blame(args) => blame::run(args).await?,
    };
    Ok(write_out(&text)?)
}

async fn list(args: ListArgs) -> anyhow::Result<String> {
    let mut api = args.server.connect().await?;
    let pool = args.pool;
    let request = ListSnapshotsRequest {
        pool: pool.clone(),
        page_size: args.limit,
        page_token: String::new(),
    };
    let page = api
        .snapshots
        .list_snapshots(request)
        .await
        .map_err(failure)?
        .into_inner();
    for pool in marks::frozen(&api, &pool).await? {
        eprintln!("note: {pool}");
    }
    if args.output == Output::Json {
        let snapshots: Vec<_> = page.snapshots.iter().map(info_json).collect();
        return Ok(json_text(json!({"snapshots": snapshots})));
    }
    let mut table = Table::new(&[
        "POOL", "VERSION", "PARENT", "REVISION", "PARTS", "AGE", "MARKS", "CAUSE",
    ]);
    for info in page.snapshots {
        let id = info.id.clone().unwrap_or_default();
        table.row([
            id.pool,
            id.version.to_string(),
            info.parent.to_string(),
            info.revision.to_string(),
            info.parts.to_string(),
            age(&info),
            marks_text(&info),
            info.cause,
        ]);
    }
    Ok(table.render())
}

/// "known-good,pinned".
fn marks_text(info: &SnapshotInfo) -> String {
    let pinned = info.pinned.then(|| "pinned".to_owned());
    let marks: Vec<String> = info.labels.iter().cloned().chain(pinned).collect();
    marks.join(",")
}

pub(super) fn age(info: &SnapshotInfo) -> String {
    let now = jiff::Timestamp::now().as_millisecond();
    short_duration(now.saturating_sub(info.committed_at_unix_ms).max(0) / 1_000)
}

async fn show(args: ShowArgs) -> anyhow::Result<String> {
    let api = args.server.connect().await?;
    let (info, snapshot) = api.snapshot(&args.pool, args.version).await?;
    let id = info.id.clone().unwrap_or_default();
    let mut text = String::new();
    let _ = writeln!(text, "Pool:      {}", id.pool);
    let _ = writeln!(text, "Version:   {} (parent {})", id.version, info.parent);
    let _ = writeln!(text, "Revision:  {}", info.revision);
    let _ = writeln!(text, "Digest:    {}", hex(&id.digest));
    let _ = writeln!(text, "Age:       {}", age(&info));
    let _ = writeln!(text, "Cause:     {}", info.cause);
    if info.restores > 0 {
        let _ = writeln!(text, "Restores:  {}", info.restores);
    }
    for part in snapshot.parts() {
        let _ = writeln!(text, "{}", part.key());
        for (name, value) in fields(part.part()) {
            let _ = writeln!(text, "    {name}: {value}");
        }
    }
    Ok(text)
}

async fn diff(args: DiffArgs) -> anyhow::Result<String> {
    let mut api = args.server.connect().await?;
    let request = DiffSnapshotsRequest {
        pool: args.pool,
        from_version: args.from,
        to_version: args.to,
    };
    let answer = api
        .snapshots
        .diff_snapshots(request)
        .await
        .map_err(failure)?
        .into_inner();
    let (from, to) = (answer.from.as_ref(), answer.to.as_ref());
    if args.output == Output::Json {
        let changes: Vec<_> = answer.changes.iter().map(change_json).collect();
        return Ok(json_text(json!({
            "from": from.map(info_json),
            "to": to.map(info_json),
            "changes": changes,
        })));
    }
    let title = format!("snapshot {} → {}\n", version_of(from), version_of(to));
    Ok(title + &changes_text(&answer.changes))
}

/// Its place in the chain; 0 where there is none.
fn version_of(info: Option<&SnapshotInfo>) -> u64 {
    info.and_then(|info| info.id.as_ref())
        .map_or(0, |id| id.version)
}

pub(crate) fn changes_text(changes: &[PartChange]) -> String {
    let lines = changes.iter().flat_map(change_lines);
    lines.map(|line| line + "\n").collect()
}

pub(crate) fn change_json(change: &PartChange) -> serde_json::Value {
    let part = change.part.clone().unwrap_or_default();
    let fields = change
        .fields
        .iter()
        .map(|field| json!({"field": field.field, "before": field.before, "after": field.after}));
    json!({
        "part": part_title(part.kind, &part.name),
        "change": change_word(change.r#type()),
        "fields": fields.collect::<Vec<_>>(),
    })
}

fn change_word(change: ChangeType) -> &'static str {
    match change {
        ChangeType::Unspecified => "unknown",
        ChangeType::Added => "added",
        ChangeType::Removed => "removed",
        ChangeType::Modified => "modified",
    }
}

/// A change in one line for each field: `HTTPRoute shop/cart  weight 90/10 → 50/50`.
pub(crate) fn change_lines(change: &PartChange) -> Vec<String> {
    let part = change.part.clone().unwrap_or_default();
    let title = part_title(part.kind, &part.name);
    match change.r#type() {
        ChangeType::Added => vec![format!("{title}  added")],
        ChangeType::Removed => vec![format!("{title}  removed")],
        ChangeType::Modified | ChangeType::Unspecified if change.fields.is_empty() => {
            vec![format!("{title}  changed")]
        }
        ChangeType::Modified | ChangeType::Unspecified => change
            .fields
            .iter()
            .map(
                |field| match (field.before.as_str(), field.after.as_str()) {
                    ("", after) => format!("{title}  {} {after}", field.field),
                    (before, "") => format!("{title}  {} {before} → none", field.field),
                    (before, after) => format!("{title}  {} {before} → {after}", field.field),
                },
            )
            .collect(),
    }
}

/// "HTTPRoute shop/cart" for a route, whose part is named by kind and object; else kind and name.
fn part_title(kind: i32, name: &str) -> String {
    match tidegate_ir::PartKind::from_number(kind) {
        Some(tidegate_ir::PartKind::Route | tidegate_ir::PartKind::L4Route) => {
            name.replacen('/', " ", 1)
        }
        Some(kind) => tidegate_ir::PartKey::new(kind, name).to_string(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::ir::v1::PartKey;
    use tidegate_proto::snapshots::v1::FieldChange;

    use super::*;

    #[test]
    fn a_shifted_weight_is_one_line() {
        let change = PartChange {
            part: Some(PartKey {
                kind: 2,
                name: "HTTPRoute/shop/cart".to_owned(),
            }),
            r#type: ChangeType::Modified.into(),
            fields: vec![FieldChange {
                field: "weight".to_owned(),
                before: "90/10".to_owned(),
                after: "50/50".to_owned(),
            }],
        };
        assert_eq!(
            change_lines(&change),
            ["HTTPRoute shop/cart  weight 90/10 → 50/50"]
        );
    }
}
