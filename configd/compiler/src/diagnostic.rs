//! Findings for people: what is wrong with which field of which object, and the way out.

use crate::codes::Code;
use crate::objects::ObjectKey;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something the user asked for does not work.
    Error,
    /// It works, but likely not as meant.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// Lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The object that has it.
    pub key: ObjectKey,
    /// Path of the field, such as `spec.rules[2].backendRefs[0]`; empty for the whole object.
    pub field: String,
    /// Stable code; [`crate::explain_code`] has a sentence for each.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence that names cause and way out.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn new(
        key: &ObjectKey,
        field: impl Into<String>,
        code: &Code,
        message: impl Into<String>,
    ) -> Self {
        Self {
            key: key.clone(),
            field: field.into(),
            code: code.id,
            severity: code.severity,
            message: message.into(),
        }
    }
}
