//! `tidegate explain-code`: what a finding's code means.

use anyhow::bail;
use clap::Args;

use super::write_out;
use crate::source::codes::FILE_CODES;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  tidegate explain-code TG2303
  tidegate explain-code            list every code
";

/// Which code.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct ExplainCodeArgs {
    /// The code, such as TG2303; without it, every code is listed
    code: Option<String>,
}

/// Prints the explanation.
pub(crate) fn run(args: &ExplainCodeArgs) -> anyhow::Result<()> {
    let Some(code) = &args.code else {
        return Ok(write_out(&all())?);
    };
    let Some((severity, text)) = explanation(code) else {
        bail!("there is no code {code}; `tidegate explain-code` lists them all");
    };
    Ok(write_out(&format!(
        "{} ({severity})\n{text}\n",
        code.to_uppercase()
    ))?)
}

/// Severity and explanation of a code.
pub(crate) fn explanation(id: &str) -> Option<(&'static str, String)> {
    if let Some(code) = tidegate_compiler::explain_code(id) {
        return Some((code.severity.as_str(), code.explanation.to_owned()));
    }
    let code = FILE_CODES
        .iter()
        .find(|code| code.code.eq_ignore_ascii_case(id))?;
    Some((
        code.severity,
        format!("{}: {}", code.title, code.explanation),
    ))
}

fn all() -> String {
    let mut table = Table::new(&["CODE", "SEVERITY", "MEANING"]);
    for code in tidegate_compiler::CODES {
        table.row([code.id, code.severity.as_str(), code.explanation]);
    }
    for code in FILE_CODES {
        table.row([code.code, code.severity, code.title]);
    }
    table.render()
}
