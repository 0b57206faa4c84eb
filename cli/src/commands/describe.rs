//! `tidegate describe`: one object with all that is known about it.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use tidegate_proto::statuses::v1::{Diagnostic, ListStatusesRequest, Severity};

use super::get::{Shown, fetch, yaml};
use super::kinds::find_kind;
use super::write_out;
use crate::api::{Api, ServerArgs};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  tidegate describe httproute/cart -n shop
  tidegate describe gateway web -n shop
";

/// What to describe.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct DescribeArgs {
    /// KIND/NAME, or KIND and NAME
    #[arg(required = true, num_args = 1..=2, value_name = "KIND/NAME")]
    object: Vec<String>,
    /// Namespace to look in
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Looks the object up and prints it.
pub(crate) async fn run(args: DescribeArgs) -> anyhow::Result<()> {
    let (kind, name) = match args.object.as_slice() {
        [kind, name] => (kind.as_str(), name.as_str()),
        [both] => both
            .split_once('/')
            .context("name it as KIND/NAME, such as httproute/cart")?,
        _ => bail!("name it as KIND/NAME, such as httproute/cart"),
    };
    let kind = find_kind(kind)?;
    let namespace = if kind.is_namespaced {
        args.namespace.as_str()
    } else {
        ""
    };
    let api = args.server.connect().await?;
    let objects = fetch(&api, kind, namespace).await?;
    let Some(object) = objects.iter().find(|object| object.key().1 == name) else {
        bail!(
            "{} {name} does not exist in namespace {namespace}; -n names another",
            kind.kind
        );
    };
    let statuses = api
        .list_statuses(ListStatusesRequest {
            kind: kind.kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..ListStatusesRequest::default()
        })
        .await?;
    let mut text = head(object)?;
    conditions(&mut text, &object.value["status"]);
    if kind.kind == "Gateway" {
        attached_routes(&mut text, &api, object.key()).await?;
    }
    problems(&mut text, &statuses.diagnostics);
    Ok(write_out(&text)?)
}

fn head(object: &Shown) -> anyhow::Result<String> {
    let value = &object.value;
    let mut text = String::new();
    let _ = writeln!(text, "Name:        {}", object.key().1);
    if !object.key().0.is_empty() {
        let _ = writeln!(text, "Namespace:   {}", object.key().0);
    }
    let _ = writeln!(
        text,
        "Kind:        {}",
        value["kind"].as_str().unwrap_or_default()
    );
    let _ = writeln!(text, "Generation:  {}", value["metadata"]["generation"]);
    let _ = writeln!(text, "Revision:    {}", object.stored.revision);
    for (name, label) in value["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let _ = writeln!(
            text,
            "Label:       {name}={}",
            label.as_str().unwrap_or_default()
        );
    }
    if value["spec"].is_object() {
        let _ = writeln!(text, "Spec:");
        indent(&mut text, &yaml(&value["spec"])?);
    }
    Ok(text)
}

fn indent(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "  {line}");
    }
}

/// The conditions of the object itself, of its parents or ancestors, and of its listeners.
fn conditions(text: &mut String, status: &Value) {
    let mut table = Table::new(&["OF", "TYPE", "STATUS", "REASON", "MESSAGE"]);
    add_conditions(&mut table, "object", &status["conditions"]);
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let name = format!("listener {}", listener["name"].as_str().unwrap_or_default());
        add_conditions(&mut table, &name, &listener["conditions"]);
    }
    for parent in status["parents"].as_array().into_iter().flatten() {
        let parent_ref = &parent["parentRef"];
        let mut name = format!("parent {}", parent_ref["name"].as_str().unwrap_or_default());
        if let Some(section) = parent_ref["sectionName"].as_str() {
            let _ = write!(name, "/{section}");
        }
        add_conditions(&mut table, &name, &parent["conditions"]);
    }
    for ancestor in status["ancestors"].as_array().into_iter().flatten() {
        let name = &ancestor["ancestorRef"]["name"];
        let name = format!("ancestor {}", name.as_str().unwrap_or_default());
        add_conditions(&mut table, &name, &ancestor["conditions"]);
    }
    if !table.is_empty() {
        let _ = writeln!(text, "Conditions:");
        indent(text, &table.render());
    }
}

fn add_conditions(table: &mut Table, of: &str, conditions: &Value) {
    for condition in conditions.as_array().into_iter().flatten() {
        let field = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
        table.row([
            of.to_owned(),
            field("type"),
            field("status"),
            field("reason"),
            field("message"),
        ]);
    }
}

/// The kinds of routes that Gateways have.
const ROUTE_KINDS: [&str; 5] = ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"];

async fn attached_routes(
    text: &mut String,
    api: &Api,
    gateway: (&str, &str),
) -> anyhow::Result<()> {
    let mut table = Table::new(&["ROUTE", "LISTENER", "HOSTNAMES"]);
    for kind in ROUTE_KINDS {
        for route in fetch(api, find_kind(kind)?, "").await? {
            add_route(&mut table, kind, &route, gateway);
        }
    }
    if !table.is_empty() {
        let _ = writeln!(text, "Routes:");
        indent(text, &table.render());
    }
    Ok(())
}

/// A row for each parent of the route that is the Gateway.
fn add_route(table: &mut Table, kind: &str, route: &Shown, gateway: (&str, &str)) {
    let (namespace, name) = route.key();
    let hostnames = route.value["spec"]["hostnames"].as_array();
    let hostnames = hostnames.into_iter().flatten();
    let hostnames: Vec<_> = hostnames.filter_map(Value::as_str).collect();
    let parents = route.value["status"]["parents"].as_array();
    for parent in parents.into_iter().flatten() {
        let parent_ref = &parent["parentRef"];
        let parent_namespace = parent_ref["namespace"].as_str().unwrap_or(namespace);
        let parent_name = parent_ref["name"].as_str().unwrap_or_default();
        if (parent_namespace, parent_name) == gateway {
            let section = parent_ref["sectionName"].as_str().unwrap_or("*").to_owned();
            let route = format!("{kind} {namespace}/{name}");
            table.row([route, section, hostnames.join(",")]);
        }
    }
}

fn problems(text: &mut String, diagnostics: &[Diagnostic]) {
    if diagnostics.is_empty() {
        return;
    }
    let _ = writeln!(text, "Problems:");
    for diagnostic in diagnostics {
        let severity = match diagnostic.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info | Severity::Unspecified => "info",
        };
        let Diagnostic {
            code,
            field,
            message,
            ..
        } = diagnostic;
        let colon = if field.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "  {severity} {code} {field}{colon}{message}");
    }
}
