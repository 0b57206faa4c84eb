//! `tidegate install`: the objects of an installation on Kubernetes, for `kubectl apply`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::write_out;
use crate::chart::{self, Release, Values, parse_setting, render};

const EXAMPLES: &str = "\
Examples:
  tidegate install | kubectl apply --server-side -f -
  tidegate install --set configd.replicas=1 --set image.repository=registry.example/tidegate
  tidegate install --values values.yaml > tidegate.yaml
  tidegate install --show-values                   see every value, its default and what it means
  tidegate retire && tidegate install --set crds.install=false | kubectl delete -f -
                                                   remove it, and leave the kinds of our own and their objects
";

/// Longest name of a release: Helm's bound.
const NAME_LEN_MAX: usize = 53;
/// Longest name of a namespace.
const NAMESPACE_LEN_MAX: usize = 63;

/// Print what an installation on Kubernetes consists of, as the Helm chart renders it.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct InstallArgs {
    /// Name of the installation; names of objects begin with it
    #[arg(long, value_name = "NAME", default_value = "tidegate", value_parser = parse_name::<NAME_LEN_MAX>)]
    name: String,
    /// Namespace of everything that is not of the whole cluster
    #[arg(long, short, value_name = "NAMESPACE", default_value = "tidegate-system", value_parser = parse_name::<NAMESPACE_LEN_MAX>)]
    namespace: String,
    /// Leave out the namespace itself, because it exists
    #[arg(long)]
    without_namespace: bool,
    /// Values of the chart that differ from its defaults; of several files the last word counts
    #[arg(long, short = 'f', value_name = "FILE")]
    values: Vec<PathBuf>,
    /// A value that differs, such as configd.replicas=1: a path with dots, and YAML; counts more than files
    #[arg(long, value_name = "PATH=VALUE", value_parser = parse_setting)]
    set: Vec<Value>,
    /// Print the chart's values.yaml instead: every value with its default
    #[arg(long, conflicts_with_all = ["values", "set", "without_namespace"])]
    show_values: bool,
}

/// Does it.
pub(crate) fn run(args: InstallArgs) -> anyhow::Result<()> {
    if args.show_values {
        return Ok(write_out(chart::DEFAULTS)?);
    }
    let mut over = Vec::new();
    for path in &args.values {
        let values = fs::read_to_string(path).map_err(anyhow::Error::from);
        let values = values.and_then(|text| Values::read(&text));
        over.push(values.with_context(|| path.display().to_string())?);
    }
    let values = Values::new(over.into_iter().chain(args.set))?;
    let namespace = (!args.without_namespace).then(|| namespace(&args.namespace));
    let release = Release {
        name: args.name,
        namespace: args.namespace,
    };
    let objects = render(&release, &values)?;
    let documents = namespace.into_iter().chain(objects);
    Ok(write_out(
        &documents
            .map(|text| format!("---\n{text}"))
            .collect::<String>(),
    )?)
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

/// A name of Kubernetes, as labels of the DNS are.
fn parse_name<const LEN_MAX: usize>(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-');
    if is_name && (1..=LEN_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a name has lower-case letters, digits and hyphens within, and at most {LEN_MAX} characters"
    ))
}
