//! What the compiler knows about kinds, for the file source.

use crate::source::object::FileKey;
use crate::source::set::Schema;

/// Checks objects as configd will.
pub(crate) const COMPILER_SCHEMA: Schema = Schema {
    is_known: tidegate_compiler::is_known,
    check: invalid_fields,
};

fn invalid_fields(key: &FileKey, content: &[u8]) -> Vec<(String, String)> {
    match tidegate_compiler::validate(&key.group, &key.kind, content) {
        Ok(()) => Vec::new(),
        Err(fields) => fields
            .into_iter()
            .map(|f| (f.path, with_suggestion(&f.message)))
            .collect(),
    }
}

/// Turns "unknown field `matchs`, expected one of `name`, `matches`" into a question where one of the
/// expected names is close.
fn with_suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let is_about_name =
        message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some(unknown) = names.next().filter(|_| is_about_name) else {
        return message.to_owned();
    };
    let nearest = names.map(|name| (distance(unknown, name), name)).min();
    match nearest {
        Some((edits, name)) if edits <= 1 + unknown.len() / 4 => {
            let what = message.split(" `").next().unwrap_or_default();
            format!("{what} \"{unknown}\"; did you mean \"{name}\"?")
        }
        _ => message.to_owned(),
    }
}

/// How many letters must be added, removed or replaced; upper and lower case are the same.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let message = "unknown field `matchs`, expected one of `name`, `matches`, `filters`";
        assert_eq!(
            with_suggestion(message),
            "unknown field \"matchs\"; did you mean \"matches\"?"
        );
        let message = "unknown field `colour`, expected one of `name`, `matches`";
        assert_eq!(with_suggestion(message), message);
        assert_eq!(with_suggestion("must not be empty"), "must not be empty");
    }

    #[test]
    fn distances_count_edits() {
        assert_eq!(distance("matchs", "matches"), 1);
        assert_eq!(distance("backendRef", "backendrefs"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
