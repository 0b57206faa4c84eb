//! `tidegate apply`: gives configd the objects of files, as one source among others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use clap::Args;
use serde_json::Value;
use tidegate_proto::objects::v1::precondition::Condition;
use tidegate_proto::objects::v1::{
    ApplyMode, ApplyRequest, ListObjectsRequest, Operation, Precondition, StoredObject,
};

use super::wait::{self, Reached};
use super::{lint, write_out};
use crate::Outcome;
use crate::api::{Api, ServerArgs, failure};
use crate::batch;
use crate::desired::{DesiredObject, DesiredSet, SOURCE, SetBuilder};
use crate::offline::open_files;
use crate::source::object::FileKey;
use crate::source::set::Contents;
use crate::style::Style;

const EXAMPLES: &str = "\
Examples:
  tidegate apply manifests/                        store what the files say
  tidegate apply manifests/ --dry-run              only show what would change
  tidegate apply manifests/ --prune                also delete what the files no longer have
  tidegate apply manifests/ --wait converged       return when every worker serves it
  kustomize build . | tidegate apply - --source eu-1
";

/// What to store.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct ApplyArgs {
    /// Files and folders; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    set: SetArgs,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history
    #[arg(long, default_value = "tidegate apply", value_name = "TEXT")]
    reason: String,
    /// Return when the change has come that far
    #[arg(long, value_enum, value_name = "STATE", default_value_t = Reached::Committed)]
    wait: Reached,
    /// Seconds to wait at most; then the exit code is 5
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u32,
    #[command(flatten)]
    server: ServerArgs,
}

/// Whose objects the files hold, and whether they are all of them.
#[derive(Debug, Clone, Args)]
pub(super) struct SetArgs {
    /// The source that the objects belong to; the same name in two sources is two objects
    #[arg(long, default_value = SOURCE, value_name = "NAME")]
    pub(super) source: String,
    /// Delete the objects of the source that the files do not have
    #[arg(long)]
    prune: bool,
}

/// What is to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Created,
    Changed,
    /// A Secret: configd does not show what it has of it.
    Sent,
    Deleted,
}

/// An object that differs, and how it is made equal.
pub(super) struct Change {
    title: String,
    verb: Verb,
    pub(super) operation: Operation,
}

/// Applies all files, or nothing where one of them has an error.
pub(crate) async fn run(args: ApplyArgs) -> anyhow::Result<Outcome> {
    let Some(read) = read(&args.server, &args.paths, &args.set).await? else {
        return Ok(Outcome::FoundSomething);
    };
    let (api, changes, unchanged) = read;
    write_out(&lines(&changes))?;
    if args.dry_run {
        eprintln!(
            "{} would change, {unchanged} would not; nothing was changed",
            changes.len()
        );
        return Ok(Outcome::Done);
    }
    let count = changes.len();
    match send(&api, &args, changes).await? {
        Some(revision) => {
            eprintln!("revision {revision}: {count} changed, {unchanged} as before");
            wait::until(&api, args.wait, revision, args.timeout).await?;
        }
        None => eprintln!("nothing to change: all {unchanged} are as the files say"),
    }
    Ok(Outcome::Done)
}

/// Connects, and finds what has to change to make configd's objects those of the files, and how many need not;
/// `None`, after saying why, where a file has an error.
pub(super) async fn read(
    server: &ServerArgs,
    paths: &[PathBuf],
    set: &SetArgs,
) -> anyhow::Result<Option<(Api, Vec<Change>, usize)>> {
    let contents = open_files(paths)?.contents();
    if !contents.findings.is_empty() {
        report(&contents);
        return Ok(None);
    }
    // An empty folder with --prune is a mistake far more often than it is meant.
    ensure!(
        !contents.objects.is_empty(),
        "there is no object in the files; nothing was changed"
    );
    let (desired, notes) = SetBuilder::new(&contents.objects).finish();
    let wanted = desired.len();
    for note in notes {
        eprintln!("note: {note}");
    }
    let api = server.connect().await?;
    let stored = stored(&api, &set.source).await?;
    let changes = changes(set, &contents, desired, &stored);
    let unchanged = wanted - puts(&changes);
    Ok(Some((api, changes, unchanged)))
}

fn report(contents: &Contents) {
    for finding in &contents.findings {
        eprintln!("{}", lint::line(finding, Style::stderr()));
    }
    eprintln!("nothing was changed: mend the files first");
}

async fn stored(api: &Api, source: &str) -> anyhow::Result<BTreeMap<FileKey, StoredObject>> {
    let filter = ListObjectsRequest {
        source: source.to_owned(),
        ..ListObjectsRequest::default()
    };
    let objects = api.list_objects(filter).await?;
    Ok(objects
        .into_iter()
        .filter_map(|stored| Some((file_key(&stored)?, stored)))
        .collect())
}

fn file_key(stored: &StoredObject) -> Option<FileKey> {
    let key = stored.object.as_ref()?.key.clone()?;
    Some(FileKey {
        group: key.group,
        kind: key.kind,
        namespace: key.namespace,
        name: key.name,
    })
}

/// Objects go first and deletions last, so that nothing is missing in between.
fn changes(
    set: &SetArgs,
    contents: &Contents,
    desired: DesiredSet,
    stored: &BTreeMap<FileKey, StoredObject>,
) -> Vec<Change> {
    let mut deletions = Vec::new();
    if set.prune {
        for (key, old) in stored.iter().filter(|(key, _)| !desired.contains_key(key)) {
            deletions.push(Change {
                title: key.title(),
                verb: Verb::Deleted,
                operation: only_if(batch::delete(&set.source, key), Some(old)),
            });
        }
    }
    let mut changes = Vec::new();
    for (key, object) in desired {
        let states_time = contents
            .objects
            .get(&key)
            .is_some_and(|object| object.object.created_at_unix_s.is_some());
        let old = stored.get(&key);
        if let Some((verb, object)) = difference(&key, object, old, states_time) {
            changes.push(Change {
                title: key.title(),
                verb,
                operation: only_if(batch::put(&set.source, &key, &object), old),
            });
        }
    }
    changes.append(&mut deletions);
    changes
}

/// What has to be stored of an object; `None` where it is as it should be.
fn difference(
    key: &FileKey,
    mut object: DesiredObject,
    old: Option<&StoredObject>,
    states_time: bool,
) -> Option<(Verb, DesiredObject)> {
    let Some(old) = old.and_then(|old| old.object.as_ref()) else {
        if !states_time {
            object.created_at_unix_s = now_unix_s();
        }
        return Some((Verb::Created, object));
    };
    if !states_time {
        object.created_at_unix_s = old.created_at_unix_s;
    }
    object.uid.clone_from(&old.uid);
    object.generation = old.generation;
    if key.group.is_empty() && key.kind == "Secret" {
        return Some((Verb::Sent, object));
    }
    if object.content == old.content && object.created_at_unix_s == old.created_at_unix_s {
        return None;
    }
    if without_metadata(&object.content) != without_metadata(&old.content) {
        object.generation += 1;
    }
    Some((Verb::Changed, object))
}

/// An API server counts a generation for all but metadata.
fn without_metadata(content: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(content).ok()?;
    value.as_object_mut()?.remove("metadata");
    Some(value)
}

/// Makes a change fail where somebody else was faster.
fn only_if(operation: Operation, old: Option<&StoredObject>) -> Operation {
    let condition = old.map_or(Condition::Absent(true), |old| {
        Condition::Revision(old.revision)
    });
    Operation {
        precondition: Some(Precondition {
            condition: Some(condition),
        }),
        ..operation
    }
}

async fn send(api: &Api, args: &ApplyArgs, changes: Vec<Change>) -> anyhow::Result<Option<u64>> {
    let operations = changes.into_iter().map(|change| change.operation);
    let mut revision = None;
    for operations in batch::batches(operations) {
        let request = ApplyRequest {
            source: args.set.source.clone(),
            operations,
            mode: ApplyMode::Commit.into(),
            reason: args.reason.clone(),
            ..ApplyRequest::default()
        };
        let answer = api.objects.clone().apply(request).await.map_err(failure)?;
        revision = Some(answer.into_inner().revision);
    }
    Ok(revision)
}

pub(super) fn lines(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let verb = match change.verb {
            Verb::Created => "created",
            Verb::Changed => "changed",
            Verb::Sent => "sent",
            Verb::Deleted => "deleted",
        };
        // Writing to a string never fails.
        let _ = writeln!(text, "{verb:<8} {}", change.title);
    }
    text
}

fn puts(changes: &[Change]) -> usize {
    let is_put = |change: &&Change| change.verb != Verb::Deleted;
    changes.iter().filter(is_put).count()
}

/// A clock before 1970 gives 0.
fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
