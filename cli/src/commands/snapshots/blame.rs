//! `tidegate snapshots blame`: which snapshot changed what last.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use tidegate_proto::history::v1::{BlameRequest, BlamedPart, ObjectName, blame_request::What};

use super::super::kinds::find_kind;
use super::super::output::{Output, info_json, json_text};
use super::super::pool::PoolArgs;
use super::{age, change_word, part_title, version_of};
use crate::api::failure;
use crate::table::Table;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate snapshots blame httproute/cart -n shop   which snapshots changed this route's parts last
  tidegate snapshots blame                          the same for everything that is served
";

/// Which object.
#[derive(Debug, Args)]
pub(crate) struct BlameArgs {
    /// Kind and name of an object; every part without it
    #[arg(value_name = "KIND/NAME")]
    object: Option<String>,
    /// Its namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    at: PoolArgs,
}

pub(super) async fn run(args: BlameArgs) -> anyhow::Result<String> {
    let what = match &args.object {
        None => None,
        Some(object) => Some(What::Object(named(object, &args.namespace)?)),
    };
    let mut api = args.at.server.connect().await?;
    let request = BlameRequest {
        pool: args.at.pool,
        what,
    };
    let answer = api.history.blame(request).await.map_err(failure)?;
    let answer = answer.into_inner();
    if answer.truncated {
        eprintln!("note: there are more parts; ask for one object");
    }
    Ok(match args.at.output {
        Output::Table => table(&answer.parts),
        Output::Json => json_text(json!({
            "parts": answer.parts.iter().map(part_json).collect::<Vec<_>>(),
            "truncated": answer.truncated,
        })),
    })
}

fn named(object: &str, namespace: &str) -> anyhow::Result<ObjectName> {
    let Some((kind, name)) = object.split_once('/') else {
        bail!("\"{object}\" is not KIND/NAME, such as httproute/cart");
    };
    Ok(ObjectName {
        kind: find_kind(kind)?.kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn table(parts: &[BlamedPart]) -> String {
    let mut table = Table::new(&["PART", "VERSION", "CHANGE", "AGE", "CAUSE"]);
    for blamed in parts {
        let part = blamed.part.clone().unwrap_or_default();
        let title = part_title(part.kind, &part.name);
        let Some(info) = &blamed.snapshot else {
            table.row([&*title, "", "older than the history", "", ""]);
            continue;
        };
        table.row([
            title,
            version_of(Some(info)).to_string(),
            change_word(blamed.r#type()).to_owned(),
            age(info),
            info.cause.clone(),
        ]);
    }
    table.render()
}

fn part_json(blamed: &BlamedPart) -> Value {
    let part = blamed.part.clone().unwrap_or_default();
    json!({
        "part": part_title(part.kind, &part.name),
        "change": change_word(blamed.r#type()),
        "snapshot": blamed.snapshot.as_ref().map(info_json),
    })
}
