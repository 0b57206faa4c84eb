//! How errors are written into logs, conditions and answers.

use std::error::Error;
use std::fmt::Write as _;

/// The error and its causes in one line. A cause whose words were already said, by a library that repeats them, is not
/// said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    chain_until(error, |_| None)
}

/// The same, where `last` has other words for some errors, which say all that there is to say.
pub fn chain_until(
    error: &(dyn Error + 'static),
    last: impl Fn(&(dyn Error + 'static)) -> Option<String>,
) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let own = last(error);
        next = error.source().filter(|_| own.is_none());
        let words = own.unwrap_or_else(|| error.to_string());
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("disk full")]
    struct Inner;

    #[test]
    fn causes_follow_once() {
        assert_eq!(
            chain(&Outer("not written", Inner)),
            "not written: disk full"
        );
        assert_eq!(chain(&Outer("disk full", Inner)), "disk full");
    }
}
