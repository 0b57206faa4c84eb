//! `tidegate lint`: what is wrong with files, found by the compiler that configd uses.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::explain_code::explanation;
use super::write_out;
use crate::Outcome;
use crate::finding::{Finding, Severity};
use crate::offline::Offline;
use crate::style::Style;

const EXAMPLES: &str = "\
Examples:
  tidegate lint manifests/                    a folder, with all below it
  kustomize build . | tidegate lint -         standard input
  tidegate lint manifests/ --fail-on warning -o json
";

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing at or above --fail-on
  1  it failed
  2  wrong usage
  3  findings at or above --fail-on";

/// What to check.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = EXIT_CODES)]
pub(crate) struct LintArgs {
    /// Files and folders; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// End with exit code 3 when there is a finding this bad, or worse
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
    /// How to print findings
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Info,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl FailOn {
    fn is_met_by(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity <= Severity::Error,
            Self::Warning => severity <= Severity::Warning,
            Self::Info => true,
            Self::Never => false,
        }
    }
}

/// Checks, prints and judges.
pub(crate) fn run(args: &LintArgs) -> anyhow::Result<Outcome> {
    let offline = Offline::load(&args.paths)?;
    let findings = offline.findings();
    match args.output {
        Output::Table => {
            for note in &offline.notes {
                eprintln!("note: {note}");
            }
            write_out(&table(&findings))?;
            eprintln!("{}", summary(&findings, offline.contents.objects.len()));
        }
        Output::Json => write_out(&format!("{:#}\n", report(&findings)))?,
    }
    let failed = findings
        .iter()
        .any(|finding| args.fail_on.is_met_by(finding.severity));
    Ok(if failed {
        Outcome::FoundSomething
    } else {
        Outcome::Done
    })
}

fn table(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| line(finding, Style::stdout()) + "\n")
        .collect()
}

/// `error    shop.yaml:12:7: HTTPRoute shop/cart spec.rules[0].matchs: unknown field  [TG9007]`
pub(crate) fn line(finding: &Finding, style: Style) -> String {
    let severity = style.severity(finding.severity, &format!("{:<8}", finding.severity));
    format!(
        "{severity} {finding}  {}",
        style.dim(&format!("[{}]", finding.code))
    )
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .count()
}

fn summary(findings: &[Finding], objects: usize) -> String {
    let errors = count(findings, Severity::Error);
    let warnings = count(findings, Severity::Warning);
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    let (objects, errors) = (counted(objects, "object"), counted(errors, "error"));
    format!("{objects}: {errors}, {}", counted(warnings, "warning"))
}

fn report(findings: &[Finding]) -> Value {
    let finding = |finding: &Finding| {
        let place = finding.place.as_ref();
        let at = place.and_then(|place| place.at);
        json!({
            "severity": finding.severity.to_string(),
            "code": finding.code,
            "object": finding.object,
            "field": finding.field,
            "message": finding.message,
            "file": place.map(|place| place.file.display().to_string()),
            "line": at.map(|(line, _)| line),
            "column": at.map(|(_, column)| column),
            "help": explanation(&finding.code).map(|(_, text)| text),
        })
    };
    json!({
        "schemaVersion": 1,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
    })
}
