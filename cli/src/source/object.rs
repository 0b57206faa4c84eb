//! Turns documents into objects with a key, and says which documents are none.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::codes;
use super::position::{Positions, field_path};
use super::set::KindIs;
use super::yaml::Document;
use crate::finding::{Finding, Place, Severity};

/// Largest object as JSON, in bytes; configd has the same bound.
pub(crate) const OBJECT_LEN_MAX: usize = 1 << 20;
/// Kinds that have no namespace, among those that Tidegate reads.
const CLUSTER_SCOPED: &[&str] = &["ClusterTrustBundle", "GatewayClass", "Namespace"];

/// Which object, inside one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileKey {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl FileKey {
    /// "HTTPRoute shop/cart", or "GatewayClass tidegate".
    pub(crate) fn title(&self) -> String {
        object_title(&self.kind, &self.namespace, &self.name)
    }
}

/// "HTTPRoute shop/cart", or "GatewayClass tidegate" for what has no namespace.
pub(crate) fn object_title(kind: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    }
}

/// An object and where it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileObject {
    pub(crate) key: FileKey,
    /// Without status and managedFields, with the namespace filled in.
    pub(crate) value: Value,
    /// Time of metadata.creationTimestamp in seconds since 1970, where the file states one.
    pub(crate) created_at_unix_s: Option<i64>,
    file: Arc<Path>,
    positions: Arc<Positions>,
    prefix: String,
}

impl FileObject {
    /// Where a field of the object stands, or the nearest field around it.
    pub(crate) fn place(&self, field: &str) -> Place {
        let path = match (self.prefix.is_empty(), field.is_empty()) {
            (true, _) => field.to_owned(),
            (false, true) => self.prefix.clone(),
            (false, false) => format!("{}.{field}", self.prefix),
        };
        Place::new(&self.file, self.positions.nearest(&path))
    }

    /// A finding about a field of this object.
    pub(crate) fn finding(
        &self,
        severity: Severity,
        code: &str,
        field: &str,
        message: String,
    ) -> Finding {
        Finding {
            place: Some(self.place(field)),
            severity,
            code: code.to_owned(),
            object: self.key.title(),
            field: field.to_owned(),
            message,
        }
    }
}

/// Reads the objects of one document; the items of a List are objects of their own.
pub(crate) fn read_document(
    file: &Arc<Path>,
    document: Document,
    kind: fn(&str, &str) -> KindIs,
    findings: &mut Vec<Finding>,
) -> Vec<FileObject> {
    let mut reader = DocumentReader {
        file,
        positions: Arc::new(document.positions),
        kind,
        findings,
        objects: Vec::new(),
    };
    reader.read(document.value, "");
    reader.objects
}

struct DocumentReader<'a> {
    file: &'a Arc<Path>,
    positions: Arc<Positions>,
    kind: fn(&str, &str) -> KindIs,
    findings: &'a mut Vec<Finding>,
    objects: Vec<FileObject>,
}

impl DocumentReader<'_> {
    fn read(&mut self, value: Value, prefix: &str) {
        let mut fields = match value {
            Value::Null => return,
            Value::Object(fields) => fields,
            _ => return self.refuse(prefix, "", "expected an object, with apiVersion and kind"),
        };
        let Some((group, kind)) = self.type_of(&fields, prefix) else {
            return;
        };
        if kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array) {
            if let Some(Value::Array(items)) = fields.remove("items") {
                for (index, item) in items.into_iter().enumerate() {
                    let prefix = field_path(prefix, &format!("items[{index}]"));
                    self.read(item, &prefix);
                }
            }
            return;
        }
        let Some(key) = self.key_of(&mut fields, prefix, group, kind) else {
            return;
        };
        match (self.kind)(&key.group, &key.kind) {
            KindIs::Read => self.keep(key, fields, prefix),
            KindIs::Foreign => {
                let message = format!("ignored: {}: Tidegate does not read this kind", key.title());
                self.find(Severity::Info, codes::IGNORED_KIND, prefix, "", message);
            }
            KindIs::Mistaken(meant) => {
                let message = format!("{}: {meant}", key.title());
                self.find(
                    Severity::Error,
                    codes::MISTAKEN_KIND,
                    prefix,
                    "kind",
                    message,
                );
            }
        }
    }

    fn type_of(&mut self, fields: &Map<String, Value>, prefix: &str) -> Option<(String, String)> {
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(Value::as_str)
                .filter(|t| !t.is_empty())
        };
        let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            let missing = if text("kind").is_none() {
                "kind"
            } else {
                "apiVersion"
            };
            let message = format!("{missing} is missing; every object states apiVersion and kind");
            self.refuse(prefix, missing, &message);
            return None;
        };
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        Some((group.to_owned(), kind.to_owned()))
    }

    fn key_of(
        &mut self,
        fields: &mut Map<String, Value>,
        prefix: &str,
        group: String,
        kind: String,
    ) -> Option<FileKey> {
        let metadata = fields.get_mut("metadata").and_then(Value::as_object_mut);
        let name = metadata
            .as_ref()
            .and_then(|m| m.get("name"))
            .and_then(Value::as_str);
        let Some(name) = name.filter(|name| !name.is_empty()).map(str::to_owned) else {
            let message = format!("{kind} has no metadata.name; give it one");
            self.refuse(prefix, "metadata.name", &message);
            return None;
        };
        let metadata = metadata.expect("it has a name");
        metadata.remove("managedFields");
        let namespace = if CLUSTER_SCOPED.contains(&kind.as_str()) {
            metadata.remove("namespace");
            String::new()
        } else {
            let given = metadata
                .get("namespace")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let namespace = if given.is_empty() { "default" } else { given }.to_owned();
            metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
            namespace
        };
        Some(FileKey {
            group,
            kind,
            namespace,
            name,
        })
    }

    fn keep(&mut self, key: FileKey, mut fields: Map<String, Value>, prefix: &str) {
        fields.remove("status");
        if key.kind == "Secret" && key.group.is_empty() {
            encode_string_data(&mut fields);
        }
        let created_at_unix_s = fields["metadata"]["creationTimestamp"]
            .as_str()
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .map(jiff::Timestamp::as_second);
        let value = Value::Object(fields);
        let len = value.to_string().len();
        if len > OBJECT_LEN_MAX {
            let message = format!(
                "{} has {len} bytes as JSON; at most {OBJECT_LEN_MAX} are taken, so split it",
                key.title()
            );
            self.find(Severity::Error, codes::TOO_LARGE, prefix, "", message);
            return;
        }
        self.objects.push(FileObject {
            key,
            value,
            created_at_unix_s,
            file: Arc::clone(self.file),
            positions: Arc::clone(&self.positions),
            prefix: prefix.to_owned(),
        });
    }

    fn refuse(&mut self, prefix: &str, field: &str, message: &str) {
        self.find(
            Severity::Error,
            codes::NOT_AN_OBJECT,
            prefix,
            field,
            message.to_owned(),
        );
    }

    fn find(&mut self, severity: Severity, code: &str, prefix: &str, field: &str, message: String) {
        let path = if field.is_empty() {
            prefix.to_owned()
        } else {
            field_path(prefix, field)
        };
        self.findings.push(Finding {
            place: Some(Place::new(self.file, self.positions.nearest(&path))),
            severity,
            code: code.to_owned(),
            object: String::new(),
            field: String::new(),
            message,
        });
    }
}

/// Does what the API server does with the texts of a Secret.
fn encode_string_data(fields: &mut Map<String, Value>) {
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    let data = fields
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(data) = data.as_object_mut() else {
        return;
    };
    for (name, text) in texts {
        if let Value::String(text) = text {
            data.insert(name, Value::String(STANDARD.encode(text)));
        }
    }
}
