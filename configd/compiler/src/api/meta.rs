//! What every object has, and how objects refer to each other.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A whole object; `status` is never an input, and of the metadata only what `M` reads.
#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    bound(deserialize = "S: Deserialize<'de>, M: Deserialize<'de> + Default")
)]
pub(crate) struct Strict<S, M = IgnoredAny> {
    #[serde(rename = "apiVersion", default)]
    pub(crate) _api_version: IgnoredAny,
    #[serde(rename = "kind", default)]
    pub(crate) _kind: IgnoredAny,
    #[serde(default)]
    pub(crate) metadata: M,
    pub(crate) spec: S,
    #[serde(rename = "status", default)]
    pub(crate) _status: IgnoredAny,
}

/// A list without the room for more that it would have when it is read from text: there are many with one item.
pub(crate) fn tight<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}

/// The part of the metadata that compiles; all other fields are none of our business.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObjectMeta {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) deletion_timestamp: Option<String>,
}

/// Names the parameters of a class: an object of any kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ParametersReference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

/// Names a Secret, or another holder of a certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecretObjectReference {
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default = "secret")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

fn secret() -> String {
    "Secret".to_owned()
}

/// Names what a route attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ParentReference {
    #[serde(default = "gateway_group")]
    pub(crate) group: String,
    #[serde(default = "gateway_kind")]
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
    pub(crate) port: Option<u16>,
}

fn gateway_group() -> String {
    super::GATEWAY_GROUP.to_owned()
}

fn gateway_kind() -> String {
    "Gateway".to_owned()
}

/// Names a backend.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BackendObjectReference {
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default = "service")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) port: Option<u16>,
}

pub(crate) fn service() -> String {
    "Service".to_owned()
}

/// Names an object of the same namespace, or of the cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LocalObjectReference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// Names an object of any namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ObjectReference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

/// Names what a policy is for, in the policy's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PolicyTargetReference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
}

/// Keeps a client at one endpoint (GEP-1619).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SessionPersistence {
    pub(crate) absolute_timeout: Option<String>,
    #[serde(rename = "type", default = "cookie")]
    pub(crate) type_: String,
    pub(crate) cookie: Option<SessionCookie>,
    pub(crate) header: Option<SessionHeader>,
}

fn cookie() -> String {
    "Cookie".to_owned()
}

/// The cookie of a session.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SessionCookie {
    pub(crate) name: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) lifetime_type: Option<String>,
}

/// The header of a session.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SessionHeader {
    pub(crate) name: String,
}

/// Chooses objects by their labels; an empty one chooses all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct LabelSelector {
    pub(crate) match_labels: BTreeMap<String, String>,
    pub(crate) match_expressions: Vec<LabelRequirement>,
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LabelRequirement {
    pub(crate) key: String,
    pub(crate) operator: String,
    #[serde(default)]
    pub(crate) values: Vec<String>,
}

impl LabelSelector {
    /// Whether the labels fulfil all conditions; an unknown operator is never fulfilled.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(equal)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }
}

impl LabelRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}
