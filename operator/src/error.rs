//! How errors are written into logs, conditions and events.

use std::error::Error;
use std::fmt::Write;

/// The error and its causes in one line. Libraries that repeat the cause in their own words are not repeated.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
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
