//! What is said about objects and files: one sentence with a place, a code and a way out.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::source::position::Position;

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Severity {
    /// Something does not work.
    Error,
    /// Something works otherwise than it may seem.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// A file and, where it is known, the line and column in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    pub(crate) at: Option<(usize, usize)>,
}

impl Place {
    /// A place in a file.
    pub(crate) fn new(file: &Arc<Path>, position: Option<Position>) -> Self {
        Self {
            file: Arc::clone(file),
            at: position.map(|p| (p.line, p.column)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.at
            .map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
    }
}

/// One remark. Findings order by place, so that a file's are read from its top.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Finding {
    /// Where, absent for what comes from no file.
    pub(crate) place: Option<Place>,
    /// How bad.
    pub(crate) severity: Severity,
    /// Stable code: "TG1042".
    pub(crate) code: String,
    /// "HTTPRoute shop/cart", or empty.
    pub(crate) object: String,
    /// "spec.rules[0].matches", or empty.
    pub(crate) field: String,
    /// The cause and the way out.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    /// `shop.yaml:12:7: HTTPRoute shop/cart spec.rules[0].matchs: unknown field`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        match (self.object.is_empty(), self.field.is_empty()) {
            (false, false) => write!(f, "{} {}: ", self.object, self.field)?,
            (false, true) => write!(f, "{}: ", self.object)?,
            (true, false) => write!(f, "{}: ", self.field)?,
            (true, true) => {}
        }
        f.write_str(&self.message)
    }
}
