//! Colours for people: only on a terminal, and never where `NO_COLOR` is set.

use std::io::IsTerminal as _;

use crate::finding::Severity;

/// Whether and how to colour one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self {
            colours: std::io::stdout().is_terminal() && allowed(),
        }
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self {
            colours: std::io::stderr().is_terminal() && allowed(),
        }
    }

    /// Stands out.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Stands back.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// As bad as it is: red, yellow, or blue.
    pub(crate) fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Info => "34",
        };
        self.paint(code, text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
