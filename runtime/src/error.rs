//! How errors are written into logs, conditions and answers.

use std::error::Error;
use std::fmt::Write as _;

/// The error and its causes in one line. A cause whose words were already said, by a library that repeats them, is not
/// said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        cause = error.source();
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
