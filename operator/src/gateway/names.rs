//! Names and labels of what belongs to a Gateway (GEP-1762).

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::key::ObjectKey;
use crate::kinds::GATEWAY_GROUP;

/// Names the Gateway.
pub(crate) const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Names its class.
pub(crate) const CLASS_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Says that the operator looks after the object.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of that label, and the field manager of what the operator applies.
pub(crate) const MANAGER: &str = "tidegate-operator";

/// Names the workers that several Gateways share: what of them is no Gateway's.
pub(crate) const POOL_LABEL: &str = "tidegate.dev/pool";

/// Longest name of a Service, and longest value of a label, in bytes.
const LABEL_LEN_MAX: usize = 63;
/// Hexadecimal digits of the hash that makes a changed name unique.
const HASH_LEN: usize = 10;

/// The name of everything that belongs to a Gateway: `GATEWAY-CLASS`, changed where Services cannot be named so.
pub(crate) fn of_pool(gateway: &str, class: &str) -> String {
    let plain = format!("{gateway}-{class}");
    let fits = plain.len() <= LABEL_LEN_MAX
        && plain.bytes().all(is_label)
        && plain.starts_with(|first: char| first.is_ascii_lowercase());
    if fits { plain } else { changed(&plain) }
}

/// The name of what Gateways of a class share in a namespace. With its hash it is no name that a Gateway gives.
pub(crate) fn of_shared_pool(class: &str) -> String {
    changed(&format!("shared_{class}"))
}

/// A name for a Service that stands for a text.
fn changed(plain: &str) -> String {
    let letter = |c: char| match c.is_ascii() && is_label(c as u8) {
        true => c,
        false => '-',
    };
    let words: String = plain.chars().map(letter).collect();
    let words = match words.starts_with(|first: char| first.is_ascii_lowercase()) {
        true => words,
        false => format!("gw-{words}"),
    };
    hashed(&words, plain)
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// The value of a label that names something.
pub(crate) fn label_value(name: &str) -> String {
    if name.len() <= LABEL_LEN_MAX {
        name.to_owned()
    } else {
        hashed(name, name)
    }
}

/// As much of the words as fits, and a hash of what they stand for.
fn hashed(words: &str, of: &str) -> String {
    let hash = hex(&Sha256::digest(of.as_bytes())[..HASH_LEN / 2]);
    let room = LABEL_LEN_MAX - HASH_LEN - 1;
    let end = words.len().min(room);
    let words = words[..end].trim_end_matches(['-', '.', '_']);
    format!("{words}-{hash}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The Gateway that owns an object, by its owner references.
pub(crate) fn gateway_of(key: &ObjectKey, object: &Value) -> Option<ObjectKey> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let mut owners = owners.iter().filter(|owner| {
        let group = owner["apiVersion"].as_str().unwrap_or_default();
        owner["kind"] == "Gateway" && group.starts_with(GATEWAY_GROUP)
    });
    let name = owners.next()?["name"].as_str()?;
    Some(ObjectKey::new(
        GATEWAY_GROUP,
        "Gateway",
        &key.namespace,
        name,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_as_they_are() {
        assert_eq!(of_pool("web", "tidegate"), "web-tidegate");
        assert_eq!(label_value("web"), "web");
    }

    #[test]
    fn other_names_are_changed_to_what_a_service_can_be_named() {
        let long = "g".repeat(253);
        for name in [long.as_str(), "shop.example.com", "0web"] {
            let changed = of_pool(name, "tidegate");
            assert!(changed.len() <= LABEL_LEN_MAX, "{changed}");
            assert!(
                changed.starts_with(|c: char| c.is_ascii_lowercase()),
                "{changed}"
            );
            assert!(!changed.contains('.'), "{changed}");
        }
        assert_ne!(of_pool("a.b", "tidegate"), of_pool("a-b", "tidegate"));
        assert_ne!(of_pool(&long, "one"), of_pool(&long, "two"));
        assert_eq!(label_value(&long).len(), LABEL_LEN_MAX);
        let shared = of_shared_pool("tidegate");
        assert!(shared.starts_with("shared-tidegate-"), "{shared}");
        assert_ne!(shared, of_shared_pool("edge"));
    }
}
