//! `tidegate get`: objects as tables or data.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidegate_proto::objects::v1::{ListObjectsRequest, StoredObject};
use tidegate_proto::statuses::v1::ListStatusesRequest;

use super::kinds::{Kind, find_kind};
use super::write_out;
use crate::api::{Api, ServerArgs};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  tidegate get httproutes -A
  tidegate get gateway web -n shop -o yaml
  tidegate get svc -n shop -o name
";

/// What to list.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// gatewayclass, gateway, httproute, referencegrant, namespace, service, secret, endpointslice
    kind: String,
    /// Only the one of this name
    name: Option<String>,
    /// Namespace to look in
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Look in every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// An object with its status.
pub(crate) struct Shown {
    pub(crate) value: Value,
    pub(crate) stored: StoredObject,
}

impl Shown {
    /// Namespace and name.
    pub(crate) fn key(&self) -> (&str, &str) {
        let key = self
            .stored
            .object
            .as_ref()
            .and_then(|object| object.key.as_ref());
        key.map_or(("", ""), |key| (&key.namespace, &key.name))
    }
}

/// Lists and prints.
pub(crate) async fn run(args: GetArgs) -> anyhow::Result<()> {
    let kind = find_kind(&args.kind)?;
    let api = args.server.connect().await?;
    let namespace = if args.all_namespaces || !kind.is_namespaced {
        ""
    } else {
        args.namespace.as_str()
    };
    let mut objects = fetch(&api, kind, namespace).await?;
    if let Some(name) = &args.name {
        objects.retain(|object| object.key().1 == name);
        if objects.is_empty() {
            bail!("{} {name} does not exist{}", kind.kind, within(namespace));
        }
    }
    if objects.is_empty() {
        eprintln!("there are no {}{}", kind.plural, within(namespace));
        return Ok(());
    }
    let text = match args.output {
        Output::Table => table(kind, &objects, args.all_namespaces, false),
        Output::Wide => table(kind, &objects, args.all_namespaces, true),
        Output::Json => format!("{:#}\n", document(&objects, args.name.is_some())),
        Output::Yaml => yaml(&document(&objects, args.name.is_some()))?,
        Output::Name => objects
            .iter()
            .map(|object| format!("{}/{}\n", kind.kind.to_ascii_lowercase(), object.key().1))
            .collect(),
    };
    Ok(write_out(&text)?)
}

fn within(namespace: &str) -> String {
    if namespace.is_empty() {
        String::new()
    } else {
        format!(" in namespace {namespace}; -n names another, -A looks in all")
    }
}

/// The objects of a kind with their statuses; an empty namespace means all of them.
pub(crate) async fn fetch(api: &Api, kind: &Kind, namespace: &str) -> anyhow::Result<Vec<Shown>> {
    let objects = api
        .list_objects(ListObjectsRequest {
            group: kind.group.to_owned(),
            kind: kind.kind.to_owned(),
            namespace: namespace.to_owned(),
            ..ListObjectsRequest::default()
        })
        .await?;
    let statuses = api
        .list_statuses(ListStatusesRequest {
            kind: kind.kind.to_owned(),
            namespace: namespace.to_owned(),
            ..ListStatusesRequest::default()
        })
        .await?;
    let statuses: BTreeMap<_, _> = statuses
        .statuses
        .into_iter()
        .filter_map(|status| {
            let key = status.key?;
            Some(((key.source, key.namespace, key.name), status.status))
        })
        .collect();
    let mut shown = Vec::new();
    for stored in objects {
        let object = stored
            .object
            .as_ref()
            .context("configd sent an empty object")?;
        let key = object.key.clone().unwrap_or_default();
        let mut value: Value = serde_json::from_slice(&object.content)
            .with_context(|| format!("{} {} is no JSON", key.kind, key.name))?;
        if let Some(status) = statuses.get(&(key.source, key.namespace, key.name)) {
            value["status"] = serde_json::from_slice(status).unwrap_or_default();
        }
        value["metadata"]["uid"] = object.uid.clone().into();
        value["metadata"]["generation"] = object.generation.into();
        value["metadata"]["resourceVersion"] = stored.revision.to_string().into();
        shown.push(Shown { value, stored });
    }
    Ok(shown)
}

fn document(objects: &[Shown], single: bool) -> Value {
    match objects {
        [only] if single => only.value.clone(),
        _ => json!({
            "apiVersion": "v1",
            "kind": "List",
            "items": objects.iter().map(|object| object.value.clone()).collect::<Vec<_>>(),
        }),
    }
}

/// A value as YAML.
pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("cannot write YAML")
}

fn table(kind: &Kind, objects: &[Shown], all_namespaces: bool, wide: bool) -> String {
    let with_namespace = all_namespaces && kind.is_namespaced;
    let mut titles = if with_namespace {
        vec!["NAMESPACE", "NAME"]
    } else {
        vec!["NAME"]
    };
    titles.extend(columns(kind));
    titles.push("AGE");
    if wide {
        titles.extend(["GENERATION", "REVISION", "SOURCE"]);
    }
    let mut table = Table::new(&titles);
    for object in objects {
        let (namespace, name) = object.key();
        let mut cells = if with_namespace {
            vec![namespace.to_owned()]
        } else {
            Vec::new()
        };
        cells.push(name.to_owned());
        cells.extend(
            columns(kind)
                .iter()
                .map(|column| cell(column, &object.value)),
        );
        cells.push(age(object));
        if wide {
            let stored = object.stored.object.clone().unwrap_or_default();
            cells.push(stored.generation.to_string());
            cells.push(object.stored.revision.to_string());
            cells.push(stored.key.unwrap_or_default().source);
        }
        table.row(cells);
    }
    table.render()
}

fn columns(kind: &Kind) -> &'static [&'static str] {
    match kind.kind {
        "GatewayClass" => &["CONTROLLER", "ACCEPTED"],
        "Gateway" => &["CLASS", "LISTENERS", "ROUTES", "PROGRAMMED"],
        "HTTPRoute" | "GRPCRoute" | "TLSRoute" => &["HOSTNAMES", "PARENTS", "ACCEPTED", "RESOLVED"],
        "TCPRoute" | "UDPRoute" => &["PARENTS", "ACCEPTED", "RESOLVED"],
        "BackendTLSPolicy" => &["TARGETS", "GATEWAYS", "ACCEPTED", "RESOLVED"],
        "XBackendTrafficPolicy" | "BackendPolicy" => &["TARGETS", "GATEWAYS", "ACCEPTED"],
        "XBackend" => &["DESTINATION", "TLS", "GATEWAYS", "ACCEPTED"],
        "Service" | "ServiceImport" => &["PORTS"],
        "Secret" => &["TYPE"],
        _ => &[],
    }
}

fn cell(column: &str, value: &Value) -> String {
    let spec = &value["spec"];
    let status = &value["status"];
    let parents = match status["ancestors"].is_array() {
        true => &status["ancestors"],
        false => &status["parents"],
    };
    match column {
        "TARGETS" => join(&spec["targetRefs"], target),
        "GATEWAYS" => join(parents, |ancestor| text(&ancestor["ancestorRef"]["name"])),
        "DESTINATION" => destination(spec),
        "TLS" => text(&spec["tls"]["mode"]),
        "CONTROLLER" => text(&spec["controllerName"]),
        "CLASS" => text(&spec["gatewayClassName"]),
        "TYPE" => text(&value["type"]),
        "PROGRAMMED" => condition(&value["status"]["conditions"], "Programmed"),
        "ACCEPTED" if parents.is_array() => all_parents(parents, "Accepted"),
        "ACCEPTED" => condition(&value["status"]["conditions"], "Accepted"),
        "RESOLVED" => all_parents(parents, "ResolvedRefs"),
        "HOSTNAMES" => join(&spec["hostnames"], text),
        "PARENTS" => join(&spec["parentRefs"], |parent| text(&parent["name"])),
        "LISTENERS" => join(&spec["listeners"], |l| {
            format!("{}:{}", text(&l["name"]), l["port"])
        }),
        "ROUTES" => {
            let listeners = value["status"]["listeners"]
                .as_array()
                .into_iter()
                .flatten();
            listeners
                .filter_map(|l| l["attachedRoutes"].as_u64())
                .sum::<u64>()
                .to_string()
        }
        "PORTS" => join(&spec["ports"], |port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            format!("{}/{protocol}", port["port"])
        }),
        _ => String::new(),
    }
}

/// What a policy is for.
fn target(target: &Value) -> String {
    let section = target["sectionName"].as_str();
    let section = section.map(|name| format!(":{name}")).unwrap_or_default();
    format!(
        "{}/{}{section}",
        text(&target["kind"]),
        text(&target["name"])
    )
}

/// Where an XBackend leads to.
fn destination(spec: &Value) -> String {
    let port = &spec["port"]["number"];
    match spec["externalHostname"]["hostname"].as_str() {
        Some(hostname) => format!("{hostname}:{port}"),
        None => format!("Pods:{port}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn join(values: &Value, text: impl Fn(&Value) -> String) -> String {
    let values = values.as_array().into_iter().flatten();
    values.map(text).collect::<Vec<_>>().join(",")
}

/// The status of one condition: "True", "False (reason)", or "Unknown".
fn condition(conditions: &Value, name: &str) -> String {
    let mut conditions = conditions.as_array().into_iter().flatten();
    let Some(found) = conditions.find(|condition| condition["type"] == name) else {
        return "Unknown".to_owned();
    };
    match (
        text(&found["status"]).as_str(),
        text(&found["reason"]).as_str(),
    ) {
        ("True", _) => "True".to_owned(),
        (status, reason) => format!("{status} ({reason})"),
    }
}

fn all_parents(parents: &Value, name: &str) -> String {
    let parents = parents.as_array().map(Vec::as_slice).unwrap_or_default();
    let states = parents
        .iter()
        .map(|parent| condition(&parent["conditions"], name));
    let not_true = states.clone().find(|state| state != "True");
    not_true.unwrap_or_else(|| {
        if parents.is_empty() {
            "Unknown"
        } else {
            "True"
        }
        .to_owned()
    })
}

fn age(object: &Shown) -> String {
    let created = object
        .stored
        .object
        .as_ref()
        .map_or(0, |object| object.created_at_unix_s);
    // Files without a creation time get a place in the order instead: see the file source.
    if created < 1_000_000_000 {
        return "<unknown>".to_owned();
    }
    let seconds = jiff::Timestamp::now()
        .as_second()
        .saturating_sub(created)
        .max(0);
    short_duration(seconds)
}

/// "42s", "5m", "3h", "12d".
pub(crate) fn short_duration(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_false_condition_says_why() {
        let parents = json!([
            {"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted"}]},
            {"conditions": [{"type": "Accepted", "status": "False", "reason": "NoMatchingParent"}]},
        ]);
        assert_eq!(
            all_parents(&parents, "Accepted"),
            "False (NoMatchingParent)"
        );
        assert_eq!(all_parents(&json!([]), "Accepted"), "Unknown");
    }

    #[test]
    fn ages_have_one_unit() {
        assert_eq!(short_duration(90), "90s");
        assert_eq!(short_duration(3 * 86_400), "3d");
    }
}
