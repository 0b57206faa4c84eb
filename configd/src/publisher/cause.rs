//! Says in a few words why a snapshot was made.

use tidegate_store::{Note, ObjectKey};

/// Objects that are named; the rest is counted.
const NAMED_MAX: usize = 3;

/// Bytes of a cause, at most.
const CAUSE_BYTES_MAX: usize = 1_024;

/// Objects that changed: the first few by name, and how many others.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    named: Vec<String>,
    others: usize,
}

impl Changed {
    /// Those with these keys.
    pub(crate) fn of<'k>(mut keys: impl Iterator<Item = &'k ObjectKey>) -> Self {
        Self {
            named: keys
                .by_ref()
                .take(NAMED_MAX)
                .map(ToString::to_string)
                .collect(),
            others: keys.count(),
        }
    }

    /// Too many to tell; the text says which.
    pub(crate) fn all(text: String) -> Self {
        Self {
            named: vec![text],
            others: 0,
        }
    }
}

/// "HTTPRoute shop/cart, Service shop/cart and 3 more".
pub(crate) fn describe(changed: &Changed) -> String {
    let mut text = changed.named.join(", ");
    if changed.others > 0 {
        text.push_str(&format!(" and {} more", changed.others));
    }
    bounded(text)
}

/// "unfrozen by anna: repaired; HTTPRoute shop/cart".
pub(crate) fn unfrozen(note: &Note, changed: &Changed) -> String {
    let text = said("unfrozen", &note.by, &note.reason);
    if changed.named.is_empty() {
        return bounded(text);
    }
    bounded(format!("{text}; {}", describe(changed)))
}

/// "addresses while frozen: EndpointSlice shop/cart-1".
pub(crate) fn while_frozen(changed: &Changed) -> String {
    bounded(format!("addresses while frozen: {}", describe(changed)))
}

/// "addresses during a rollout: EndpointSlice shop/cart-1".
pub(crate) fn during_rollout(changed: &Changed) -> String {
    bounded(format!("addresses during a rollout: {}", describe(changed)))
}

/// "rollback to 3 by anna: the checkout answers 500".
pub(crate) fn rollback(version: u64, by: &str, reason: &str) -> String {
    bounded(said(&format!("rollback to {version}"), by, reason))
}

fn said(what: &str, by: &str, reason: &str) -> String {
    match (by, reason) {
        ("", "") => what.to_owned(),
        (by, "") => format!("{what} by {by}"),
        ("", reason) => format!("{what}: {reason}"),
        (by, reason) => format!("{what} by {by}: {reason}"),
    }
}

fn bounded(mut text: String) -> String {
    let mut end = text.len().min(CAUSE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_objects_are_named_and_the_rest_counted() {
        let key = |index: u32| ObjectKey::new("s", "g", "HTTPRoute", "a", &index.to_string());
        let keys: Vec<_> = (0..11).map(key).collect();
        let text = describe(&Changed::of(keys.iter()));
        assert!(text.starts_with("HTTPRoute a/0, HTTPRoute a/1"));
        assert!(text.ends_with("HTTPRoute a/2 and 8 more"));
    }
}
