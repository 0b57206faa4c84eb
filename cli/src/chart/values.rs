//! The values of an installation: the chart's, and what the user puts over them.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::files;
use super::merge::merge;
use super::schema;
use crate::source::yaml::parse_yaml;

/// Most parts of a path.
const DEPTH_MAX: usize = 32;

/// Values that keep the chart's schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values(pub(super) Value);

impl Values {
    /// The chart's values, with others put over them in this order.
    ///
    /// # Errors
    /// With every rule of the schema that the result breaks.
    pub(crate) fn new(over: impl IntoIterator<Item = Value>) -> anyhow::Result<Self> {
        let mut values = document(files::VALUES).context("values.yaml of the chart")?;
        for over in over {
            merge(&mut values, over);
        }
        let rules: Value = serde_json::from_str(files::SCHEMA).context("the chart's schema")?;
        let broken = schema::check(&rules, &values);
        if broken.is_empty() {
            return Ok(Self(values));
        }
        let broken = broken
            .into_iter()
            .map(|(path, why)| format!("\n  {path}: {why}"));
        bail!(
            "the values are not those of the chart (`tidegate install --show-values` prints all):{}",
            broken.collect::<String>()
        )
    }

    /// Reads a file of values.
    ///
    /// # Errors
    /// With the place where it is no YAML, or no map.
    pub(crate) fn read(text: &str) -> anyhow::Result<Value> {
        match document(text)? {
            Value::Null => Ok(Value::Object(Map::new())),
            values @ Value::Object(_) => Ok(values),
            _ => bail!("it is no map of values, such as configd: {{replicas: 1}}"),
        }
    }
}

/// Reads `PATH=VALUE`: parts of the path stand between dots, a dot within a part is written `\.`, and the value is YAML.
///
/// # Errors
/// With one clause.
pub(crate) fn parse_setting(text: &str) -> Result<Value, String> {
    let usage = "a path, =, and a value, such as configd.replicas=1";
    let (path, value) = text.split_once('=').ok_or(usage)?;
    let value = match value {
        "" => Value::String(String::new()),
        value => document(value).map_err(|error| format!("the value: {error:#}"))?,
    };
    let parts = parts_of(path);
    if parts.len() > DEPTH_MAX || parts.iter().any(String::is_empty) {
        return Err(usage.to_owned());
    }
    let nest = |value, part| Value::Object(Map::from_iter([(part, value)]));
    Ok(parts.into_iter().rev().fold(value, nest))
}

fn parts_of(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '.' => parts.push(String::new()),
            '\\' => parts
                .last_mut()
                .into_iter()
                .for_each(|part| part.extend(letters.next())),
            letter => parts
                .last_mut()
                .into_iter()
                .for_each(|part| part.push(letter)),
        }
    }
    parts
}

/// The one document of a text; `null` where there is none.
pub(super) fn document(text: &str) -> anyhow::Result<Value> {
    let documents = parse_yaml(text).map_err(|error| {
        let (line, column) = (error.position.line, error.position.column);
        anyhow::anyhow!("line {line}, column {column}: {error}")
    })?;
    let mut documents = documents.into_iter().map(|document| document.value);
    match (documents.next(), documents.next()) {
        (Some(document), None) => Ok(document),
        (None, _) => Ok(Value::Null),
        _ => bail!("there is more than one document"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_is_a_path_and_yaml() {
        let parsed = |text| parse_setting(text).expect("it is a setting");
        assert_eq!(
            parsed("configd.replicas=1"),
            json!({"configd": {"replicas": 1}})
        );
        let tolerations = json!({"operator": {"tolerations": [{"key": "edge"}]}});
        assert_eq!(parsed("operator.tolerations=[{key: edge}]"), tolerations);
        let annotations = json!({"configd": {"podAnnotations": {"example.com/a": "b=c"}}});
        assert_eq!(
            parsed(r"configd.podAnnotations.example\.com/a=b=c"),
            annotations
        );
        assert_eq!(parsed("image.tag="), json!({"image": {"tag": ""}}));
        for wrong in ["configd", "a..b=1", "=1", "a=[1"] {
            assert!(parse_setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn broken_rules_are_told_all_at_once() {
        let over = json!({"configd": {"replicas": 2}, "operator": {"replica": 1}});
        let error = Values::new([over]).expect_err("they break two rules");
        let text = error.to_string();
        assert!(
            text.contains("\n  configd.replicas: must be one of"),
            "{text}"
        );
        assert!(
            text.contains("\n  operator.replica: there is no such value"),
            "{text}"
        );
    }
}
