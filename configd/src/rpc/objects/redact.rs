//! Takes secret data out of objects that are read back.

use serde_json::{Map, Value};
use tidegate_proto::objects::v1::StoredObject;

use crate::sealing::Sealing;

/// An object as it may be read: opened, then without its secrets.
pub(super) fn readable(sealing: &Sealing, mut stored: StoredObject) -> StoredObject {
    if let Some(object) = &mut stored.object {
        // What cannot be opened is shown without content.
        object.content = sealing.open(&object.content).unwrap_or_default();
    }
    redacted(stored)
}

/// The object; a Secret keeps the names of its data, not the values.
fn redacted(mut stored: StoredObject) -> StoredObject {
    if let Some(object) = &mut stored.object
        && object
            .key
            .as_ref()
            .is_some_and(|key| key.group.is_empty() && key.kind == "Secret")
    {
        let content = serde_json::from_slice(&object.content).map(without_data);
        object.content = content
            .map(|secret| secret.to_string())
            .unwrap_or_default()
            .into();
    }
    stored
}

fn without_data(mut secret: Value) -> Value {
    for field in ["data", "stringData"] {
        if let Some(Value::Object(data)) = secret.get_mut(field) {
            let names = data
                .keys()
                .map(|name| (name.clone(), Value::from("[redacted]")));
            *data = names.collect::<Map<_, _>>();
        }
    }
    // The last applied configuration holds the data once more.
    if let Some(annotations) = secret.pointer_mut("/metadata/annotations") {
        *annotations = Value::Object(Map::new());
    }
    secret
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_proto::objects::v1::{Object, ObjectKey};

    use super::*;

    #[test]
    fn a_secret_is_read_back_without_its_values() {
        let content = json!({
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0"}},
            "data": {"tls.key": "c2VjcmV0"},
        });
        let key = Some(ObjectKey {
            kind: "Secret".into(),
            ..ObjectKey::default()
        });
        let object = Object {
            key,
            content: content.to_string().into(),
            ..Object::default()
        };
        let read = redacted(StoredObject {
            object: Some(object),
            revision: 1,
        });
        let content = read.object.expect("an object").content;
        let text = std::str::from_utf8(&content).expect("JSON is text");
        assert!(!text.contains("c2VjcmV0"), "{text}");
        assert!(text.contains("tls.key"), "{text}");
    }
}
