//! The order of names that consist of several words.

use std::cmp::Ordering;
use std::sync::Arc;

/// Compares names word by word. Most words are shared, and then their bytes need not be looked at.
pub fn compare_words<const N: usize>(one: [&Arc<str>; N], other: [&Arc<str>; N]) -> Ordering {
    let pairs = one.into_iter().zip(other);
    let different = pairs.filter(|(one, other)| !Arc::ptr_eq(one, other));
    let mut orders = different.map(|(one, other)| one.cmp(other));
    orders
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_differs_decides_whether_words_are_shared_or_not() {
        let word = |text: &str| Arc::<str>::from(text);
        let (a, b, also_a) = (word("a"), word("b"), word("a"));
        assert_eq!(compare_words([&a, &b], [&a, &a]), Ordering::Greater);
        assert_eq!(compare_words([&a, &b], [&also_a, &b]), Ordering::Equal);
        assert_eq!(compare_words([&also_a, &b], [&b, &a]), Ordering::Less);
    }
}
