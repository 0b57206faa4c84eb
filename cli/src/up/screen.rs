//! What `tidegate up` tells its user, on standard error; standard output is the access log's.

use std::collections::BTreeSet;

use tidegate_ir::{Hostname, Snapshot};
use tidegate_worker::BoundListener;

use super::suggestion::{Request, flow_with_route, url};
use crate::commands::lint::line;
use crate::finding::{Finding, Severity};
use crate::style::Style;

/// Most changes of one snapshot that are shown.
const CHANGES_MAX: usize = 20;

/// Remembers what was said, so that nothing is said twice.
pub(super) struct Screen {
    style: Style,
    findings: BTreeSet<Finding>,
    notes: BTreeSet<String>,
    listeners: Vec<BoundListener>,
    any_ports: bool,
    trouble: String,
}

impl Screen {
    /// Nothing was said yet. With `any_ports`, ports that nobody asked for are no news.
    pub(super) fn new(any_ports: bool) -> Self {
        Self {
            style: Style::stderr(),
            findings: BTreeSet::new(),
            notes: BTreeSet::new(),
            listeners: Vec::new(),
            any_ports,
            trouble: String::new(),
        }
    }

    /// Says what was filled in.
    pub(super) fn notes(&mut self, notes: Vec<String>) {
        for note in notes {
            if self.notes.insert(note.clone()) {
                eprintln!("{}     {note}", self.style.dim("note"));
            }
        }
    }

    /// Says what is newly wrong, and when nothing is wrong any more.
    pub(super) fn findings(&mut self, findings: Vec<Finding>) {
        self.trouble.clear();
        let findings: BTreeSet<_> = findings.into_iter().collect();
        for finding in findings.difference(&self.findings) {
            eprintln!("{}", line(finding, self.style));
        }
        let is_bad = |findings: &BTreeSet<Finding>| {
            findings
                .iter()
                .any(|finding| finding.severity < Severity::Info)
        };
        if is_bad(&self.findings) && !is_bad(&findings) {
            eprintln!("{}  no problems left", self.style.bold("solved"));
        }
        self.findings = findings;
    }

    /// Says which sockets are new, with the reason where a port is not the one asked for.
    pub(super) fn listeners(&mut self, bound: &[BoundListener], snapshot: Option<&Snapshot>) {
        for listener in bound
            .iter()
            .filter(|listener| !self.listeners.contains(listener))
        {
            let mut parts = listener.listener.rsplitn(2, '/');
            let section = parts.next().unwrap_or_default();
            let gateway = parts.next().unwrap_or_default();
            let served = snapshot.and_then(|snapshot| snapshot.listener(&listener.listener));
            let scheme = match served.map(|served| served.protocol.name()) {
                Some(protocol) => protocol.to_ascii_lowercase(),
                None if listener.tls => "https".to_owned(),
                None => "http".to_owned(),
            };
            let hosts = match served.map(|served| &served.hostname) {
                None | Some(Hostname::Any) => String::new(),
                Some(hostname) => format!(" for {hostname}"),
            };
            eprintln!(
                "{}  {}  Gateway {gateway}, listener {section}{hosts}{}",
                self.style.bold("listening"),
                self.style.bold(&url(&scheme, listener)),
                if self.any_ports {
                    String::new()
                } else {
                    remap(listener)
                },
            );
        }
        self.listeners = bound.to_vec();
    }

    /// Says what changed: one line for each change, up to a bound.
    pub(super) fn changes(&self, version: u64, lines: &[String]) {
        for line in lines.iter().take(CHANGES_MAX) {
            eprintln!("snapshot {version}  {line}");
        }
        if lines.len() > CHANGES_MAX {
            let more = lines.len() - CHANGES_MAX;
            eprintln!("snapshot {version}  and {more} more changes: tidegate snapshots diff");
        }
    }

    /// Says what goes wrong here rather than in a file; once, while it goes on.
    pub(super) fn trouble(&mut self, message: &str) {
        if self.trouble == message {
            return;
        }
        self.trouble = message.to_owned();
        eprintln!(
            "{} {message}",
            self.style.severity(Severity::Error, "error   ")
        );
    }

    /// Says something in passing.
    pub(super) fn say(&self, message: &str) {
        eprintln!("{message}");
    }

    /// Suggests commands to type.
    pub(super) fn suggestions(&self, snapshot: &Snapshot, server: &str) {
        let server = if server == crate::api::DEFAULT_SERVER {
            String::new()
        } else {
            format!(" --server {server}")
        };
        let commands = if let Some(request) = Request::answered(snapshot, &self.listeners) {
            vec![request.curl(), format!("{}{server}", request.explain())]
        } else if let Some(flow) = flow_with_route(snapshot, &self.listeners) {
            vec![format!("tidegate explain {flow}{server}")]
        } else {
            eprintln!(
                "nothing is routed yet: add a route with a parentRef to a Gateway, such as an HTTPRoute"
            );
            return;
        };
        for (index, command) in commands.iter().enumerate() {
            let title = if index == 0 { "try" } else { "   " };
            eprintln!("{}        {command}", self.style.bold(title));
        }
    }
}

/// Why the socket has another port than the Gateway asks for.
fn remap(listener: &BoundListener) -> String {
    let (wanted, got) = (listener.port, listener.address.port());
    let unprivileged = wanted.saturating_add(8_000);
    if wanted == got {
        String::new()
    } else if wanted < 1_024 && got == unprivileged {
        format!(" (port {wanted} needs privileges: using {got})")
    } else if wanted < 1_024 {
        format!(" (port {wanted} needs privileges and {unprivileged} is busy: using {got})")
    } else {
        format!(" ({wanted} is busy: using {got})")
    }
}
