//! `tidegate audit`: who changed what, and who was refused, from the files of a configd.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use tidegate_configd::audit::{self, Record};

use super::write_out;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  tidegate audit list --data-dir /var/lib/tidegate
  tidegate audit list --data-dir /var/lib/tidegate --caller operator/eu-1 -o json
  tidegate audit verify --data-dir /var/lib/tidegate
";

/// The audit log of a configd, running or not.
#[derive(Debug, Subcommand)]
#[command(before_help = EXAMPLES)]
pub(crate) enum AuditCommand {
    /// List records, the newest last
    List(ListArgs),
    /// Check that no record was changed or taken out
    Verify(VerifyArgs),
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Data directory of the configd, or of a `tidegate up`
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR")]
    data_dir: PathBuf,
    /// Only callers whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    caller: String,
    /// At most this many, the newest
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// table, or json with a record in each line
    #[arg(short, long, default_value = "table")]
    output: Output,
}

/// Which log, and what it must contain.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Data directory of the configd, or of a `tidegate up`
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR")]
    data_dir: PathBuf,
    /// A digest that an earlier `verify` printed, and that must still be in the chain
    #[arg(long, value_name = "DIGEST")]
    contains: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Answers the question.
pub(crate) fn run(command: AuditCommand) -> anyhow::Result<()> {
    let text = match command {
        AuditCommand::List(args) => list(&args)?,
        AuditCommand::Verify(args) => verify(&args)?,
    };
    Ok(write_out(&text)?)
}

fn list(args: &ListArgs) -> anyhow::Result<String> {
    let mut newest: VecDeque<Record> = VecDeque::new();
    let mut keep = |record: Record| {
        if record.event.caller.contains(&args.caller) {
            newest.push_back(record);
            if newest.len() > args.limit as usize {
                newest.pop_front();
            }
        }
    };
    audit::read(&folder(&args.data_dir)?, &mut keep)?;
    match args.output {
        Output::Table => Ok(table(&newest)),
        Output::Json => {
            let lines: Result<Vec<_>, _> = newest.iter().map(serde_json::to_string).collect();
            Ok(lines?.into_iter().map(|line| line + "\n").collect())
        }
    }
}

fn table(records: &VecDeque<Record>) -> String {
    let titles = [
        "NUMBER", "TIME", "CALLER", "METHOD", "ABOUT", "OUTCOME", "REVISION", "CHANGES",
    ];
    let mut table = Table::new(&titles);
    for record in records {
        let event = &record.event;
        let time = jiff::Timestamp::from_millisecond(record.time_unix_ms);
        let more = event
            .changes_total
            .saturating_sub(event.changes.len() as u64);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        table.row([
            record.number.to_string(),
            time.map(|time| time.to_string()).unwrap_or_default(),
            event.caller.clone(),
            event
                .method
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            format!("{}{}", event.source, event.pool),
            event.outcome.clone(),
            event.revision.to_string(),
            event.changes.join(", ") + &more,
        ]);
    }
    table.render()
}

fn verify(args: &VerifyArgs) -> anyhow::Result<String> {
    let mut first = None;
    let mut found = args.contains.is_none();
    let mut look = |record: Record| {
        found |= args.contains.as_ref() == Some(&record.previous);
        first.get_or_insert(record.number);
    };
    let head = audit::read(&folder(&args.data_dir)?, &mut look)?;
    let Some(head) = head else {
        bail!("the audit log has no record");
    };
    found |= args.contains.as_ref() == Some(&head.digest);
    if !found {
        bail!(
            "the digest of --contains is not in the chain: the log was written anew, or the file that held its record \
             is gone"
        );
    }
    Ok(format!(
        "Records {} to {} follow each other.\nDigest of the last: {}\n",
        first.unwrap_or(head.number),
        head.number,
        head.digest
    ))
}

/// The folder of the log; `tidegate up` has its configd in a folder of its own.
fn folder(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let places = [
        data_dir.join(audit::FOLDER),
        data_dir.join("configd").join(audit::FOLDER),
    ];
    let found = places.into_iter().find(|place| place.is_dir());
    found.with_context(|| {
        format!(
            "{} has no audit log; name the data directory of a configd",
            data_dir.display()
        )
    })
}
