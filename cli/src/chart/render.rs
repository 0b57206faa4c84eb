//! From values to objects, as `helm template` renders them.

use std::collections::HashMap;

use anyhow::Context as _;
use gtmpl_ng::{Context, Template, Value as Data};
use serde_json::{Value, json};

use super::files;
use super::functions::{self, data_of};
use super::values::{Values, document};
use crate::source::yaml::parse_yaml;

/// Kinds that others refer to, which come first and in this order.
const FIRST: [&str; 9] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "Secret",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "Service",
];

/// What an installation is called, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// The objects of an installation, each as the text of a YAML document.
///
/// # Errors
/// Where a template of the chart is broken.
pub(crate) fn render(release: &Release, values: &Values) -> anyhow::Result<Vec<String>> {
    let context = context(release, values)?;
    let mut documents = Vec::new();
    for (path, template) in files::TEMPLATES {
        let text = execute(path, template, context.clone()).with_context(|| path.to_string())?;
        for text in split(&text) {
            let parsed = parse_yaml(&text).with_context(|| format!("{path} renders to no YAML"))?;
            let kind = parsed
                .into_iter()
                .next()
                .map(|one| one.value["kind"].clone());
            // What a template leaves out is nothing but comments.
            let Some(Value::String(kind)) = kind else {
                continue;
            };
            let place = FIRST.iter().position(|first| *first == kind);
            documents.push((place.unwrap_or(FIRST.len()), text));
        }
    }
    documents.sort_by_key(|(place, _)| *place);
    Ok(documents.into_iter().map(|(_, text)| text).collect())
}

/// Renders one template.
pub(super) fn execute(name: &str, text: &str, context: Data) -> anyhow::Result<String> {
    let mut template = Template::with_name(name);
    template.add_funcs(functions::TABLE);
    for (path, piece) in files::PIECES {
        template.add_template(*path, *piece)?;
    }
    // Methods with arguments are beyond this engine; functions are not.
    let text = text
        .replace("$.Files.", "files")
        .replace(".Files.", "files");
    template.parse(text)?;
    Ok(template.render(&Context::from(context))?)
}

/// What templates know as `.`.
fn context(release: &Release, values: &Values) -> anyhow::Result<Data> {
    let chart = document(files::CHART).context("Chart.yaml")?;
    let release = json!({
        "Name": release.name,
        "Namespace": release.namespace,
        // Labels are the same whoever renders.
        "Service": "Helm",
    });
    let chart = json!({
        "Name": chart["name"],
        "Version": chart["version"],
        "AppVersion": chart["appVersion"],
    });
    Ok(Data::Object(HashMap::from([
        ("Release".to_owned(), data_of(&release)),
        ("Chart".to_owned(), data_of(&chart)),
        ("Values".to_owned(), data_of(&values.0)),
    ])))
}

/// The documents of a rendered template, without what stands between them.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines().map(str::trim_end) {
        match line {
            "---" => documents.push(String::new()),
            "" => {}
            line => documents.last_mut().into_iter().for_each(|document| {
                document.push_str(line);
                document.push('\n');
            }),
        }
    }
    documents.retain(|document| !document.is_empty());
    documents
}
