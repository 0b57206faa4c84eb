//! What the compiler knows about kinds, for the file source.

use crate::source::object::FileKey;
use crate::source::set::Schema;

/// Checks objects as configd will.
pub(crate) const COMPILER_SCHEMA: Schema =
    Schema { is_known: tidegate_compiler::is_known, check: invalid_fields };

fn invalid_fields(key: &FileKey, content: &[u8]) -> Vec<(String, String)> {
    match tidegate_compiler::validate(&key.group, &key.kind, content) {
        Ok(()) => Vec::new(),
        Err(fields) => fields.into_iter().map(|f| (f.path, f.message)).collect(),
    }
}
