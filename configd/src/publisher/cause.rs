//! Says in a few words why a snapshot was made.

use tidegate_store::Note;

/// Objects that are named; the rest is counted.
const NAMED_MAX: usize = 3;

/// Bytes of a cause, at most.
const CAUSE_BYTES_MAX: usize = 1_024;

/// "HTTPRoute shop/cart, Service shop/cart and 3 more".
pub(crate) fn describe(changed: &[String]) -> String {
    let named = &changed[..changed.len().min(NAMED_MAX)];
    let mut text = named.join(", ");
    if changed.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", changed.len() - NAMED_MAX));
    }
    bounded(text)
}

/// "unfrozen by anna: repaired; HTTPRoute shop/cart".
pub(crate) fn unfrozen(note: &Note, changed: &[String]) -> String {
    let text = said("unfrozen", &note.by, &note.reason);
    if changed.is_empty() {
        return bounded(text);
    }
    bounded(format!("{text}; {}", describe(changed)))
}

/// "addresses while frozen: EndpointSlice shop/cart-1".
pub(crate) fn while_frozen(changed: &[String]) -> String {
    bounded(format!("addresses while frozen: {}", describe(changed)))
}

/// "addresses during a rollout: EndpointSlice shop/cart-1".
pub(crate) fn during_rollout(changed: &[String]) -> String {
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
        let changed: Vec<String> = (0..11)
            .map(|index| format!("HTTPRoute a/{index}"))
            .collect();
        let text = describe(&changed);
        assert!(text.starts_with("HTTPRoute a/0, HTTPRoute a/1"));
        assert!(text.ends_with("HTTPRoute a/2 and 8 more"));
    }
}
