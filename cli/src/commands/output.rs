//! What commands print for programs.

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use tidegate_proto::snapshots::v1::SnapshotInfo;

/// How to print an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// An object as text, with the version of its shape in front.
pub(crate) fn json_text(value: Value) -> String {
    let mut whole = Map::new();
    whole.insert("schemaVersion".to_owned(), json!(1));
    if let Value::Object(fields) = value {
        whole.extend(fields);
    }
    format!("{:#}\n", Value::Object(whole))
}

/// A snapshot without its parts.
pub(crate) fn info_json(info: &SnapshotInfo) -> Value {
    let id = info.id.clone().unwrap_or_default();
    json!({
        "pool": id.pool,
        "version": id.version,
        "digest": hex(&id.digest),
        "epoch": id.epoch,
        "parent": info.parent,
        "revision": info.revision,
        "committedAt": time(info.committed_at_unix_ms),
        "cause": info.cause,
        "parts": info.parts,
        "restores": info.restores,
        "labels": info.labels,
        "pinned": info.pinned,
    })
}

/// In the form of RFC 3339; null where it is out of range.
pub(crate) fn time(unix_ms: i64) -> Value {
    let time = jiff::Timestamp::from_millisecond(unix_ms).ok();
    time.map_or(Value::Null, |time| json!(time.to_string()))
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
