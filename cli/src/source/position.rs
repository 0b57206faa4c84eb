//! Where in a file each field of a document stands.

use std::collections::BTreeMap;
use std::fmt;

/// A place in a text file, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The places of the fields of one document, by path: `spec.rules[0].matches`. The root is "".
///
/// A field of a mapping stands where its name stands, an element of a list where it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(BTreeMap<String, Position>);

impl Positions {
    /// Records a place; the first one of a path stays.
    pub(crate) fn insert(&mut self, path: &str, position: Position) {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), position);
        }
    }

    /// The place of the field, else of the nearest field around it that the document has.
    pub(crate) fn nearest(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            if let Some(position) = self.0.get(path) {
                return Some(*position);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }
}

/// Appends a field to a path.
pub(crate) fn field_path(parent: &str, field: &str) -> String {
    if parent.is_empty() {
        field.to_owned()
    } else {
        format!("{parent}.{field}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_is_found_at_the_field_around_it() {
        let mut positions = Positions::default();
        positions.insert("", Position { line: 1, column: 1 });
        positions.insert("spec.rules[0]", Position { line: 7, column: 5 });
        assert_eq!(
            positions.nearest("spec.rules[0].backendRefs[1].name"),
            Some(Position { line: 7, column: 5 })
        );
        assert_eq!(
            positions.nearest("metadata"),
            Some(Position { line: 1, column: 1 })
        );
    }
}
