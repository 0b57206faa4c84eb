//! Says in a few words why a snapshot was made.

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
