//! Writes tables as kubectl does: upper-case headers, columns parted by spaces, no borders.

use std::fmt::Write as _;

/// Rows under a header.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the titles of its columns.
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self {
            rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()],
        }
    }

    /// Adds a row with a cell for each column. Empty cells read `<none>`.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(Into::into);
        let shown = |cell: String| {
            if cell.is_empty() {
                "<none>".to_owned()
            } else {
                cell
            }
        };
        self.rows.push(cells.map(shown).collect());
    }

    /// Whether no row was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The text, with a line break after each row.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == columns {
                    let _ = writeln!(text, "{cell}");
                } else {
                    let _ = write!(text, "{cell:<width$}   ", width = widths[column]);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "AGE"]);
        table.row(["cart", ""]);
        table.row(["a-longer-name", "5m"]);
        assert_eq!(
            table.render(),
            "NAME            AGE\ncart            <none>\na-longer-name   5m\n"
        );
    }
}
