//! What happens to a TLS or TCP connection, or to a datagram.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use tidegate_ir::{Listener, ListenerProtocol, Snapshot, TlsMode};
use tidegate_router::{
    L4Candidate, L4Explanation, L4Request, L4Verdict, ListenerVerdict, Table, explain_l4,
};

use super::report;
use super::target::Targets;
use crate::style::Style;

/// A connection or datagram as the user describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flow {
    kind: Kind,
    pub(super) port: u16,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// With the server name of the ClientHello, empty for none.
    Tls(String),
    Tcp,
    Udp,
}

impl Flow {
    /// Reads `tls://db.example.com:5432`, `tcp://:5432` or `udp://:53`; the port of TLS is 443 if none is
    /// given, and only TLS looks at the host.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let Some((scheme, place)) = text.split_once("://") else {
            bail!("{text} is no URL; write GET http://shop.example.com/cart or tcp://:5432");
        };
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        };
        let port = port.map(|port| port.parse().with_context(|| format!("the port of {text}")));
        let port = port.transpose()?;
        let kind = match scheme {
            "tls" => Kind::Tls(host.to_owned()),
            "tcp" => Kind::Tcp,
            "udp" => Kind::Udp,
            "http" | "https" => bail!("name the method before the URL: GET {text}"),
            _ => bail!("{scheme} is not explained; use http, https, tls, tcp or udp"),
        };
        let default = matches!(kind, Kind::Tls(_)).then_some(443);
        let port = port.or(default);
        let port = port.with_context(|| format!("{text} needs a port: {scheme}://:5432"))?;
        Ok(Self { kind, port })
    }

    /// A connection for HTTPS, as far as its ClientHello.
    pub(super) fn of_https(host: &str, port: u16) -> Self {
        let kind = Kind::Tls(host.to_owned());
        Self { kind, port }
    }

    /// Whether the listener listens on such a port at all.
    pub(super) fn can_reach(&self, listener: &Listener) -> bool {
        (listener.protocol == ListenerProtocol::Udp) == (self.kind == Kind::Udp)
    }

    /// Listeners, routes, and what happens in the end.
    pub(super) fn text(&self, told: &Told<'_>, bind_port: u16, style: Style) -> String {
        let request = match &self.kind {
            Kind::Tls(name) => L4Request::Tls(name),
            Kind::Tcp => L4Request::Tcp,
            Kind::Udp => L4Request::Udp,
        };
        let explanation = explain_l4(told.table, bind_port, request);
        let mut text = format!("{}\n  in {}\n", style.bold(told.title), told.origin);
        text.push_str(&report::listeners_text(&explanation.listeners, style));
        let title = style.bold("Routes, in the order in which they win");
        let _ = writeln!(text, "\n{title}");
        if explanation.candidates.is_empty() {
            let _ = writeln!(text, "    none");
        }
        for candidate in &explanation.candidates {
            let _ = writeln!(text, "  {}", candidate_text(candidate, style));
        }
        let _ = writeln!(text, "\n{}", style.bold("Result"));
        text.push_str(&self.result(told.snapshot, &explanation));
        text
    }

    fn result(&self, snapshot: &Snapshot, explanation: &L4Explanation) -> String {
        let mut listeners = explanation.listeners.iter();
        let chosen = listeners.find(|(_, verdict)| *verdict == ListenerVerdict::Chosen);
        let chosen = chosen.and_then(|(name, _)| snapshot.listener(name));
        let Some(listener) = chosen else {
            let cause = match self.kind {
                Kind::Tls(_) => "no listener of that port is for this server name",
                Kind::Tcp => "no TCP listener has that port",
                Kind::Udp => "no UDP listener has that port",
            };
            return format!("  {}: {cause}\n", self.fate());
        };
        if listener.protocol.is_http() {
            return "  TLS ends at the worker, with HTTP inside; ask again with GET https://…\n"
                .to_owned();
        }
        let Some(winner) = explanation.winner() else {
            let cause = match self.kind {
                Kind::Tls(_) => "no route of the listener has a hostname for this server name",
                Kind::Tcp | Kind::Udp => "no route is attached to the listener",
            };
            return format!("  {}: {cause}\n", self.fate());
        };
        let mut text = String::new();
        if let ListenerProtocol::Tls(mode) = &listener.protocol {
            let _ = writeln!(text, "  {}", mode_text(mode));
        }
        text.push_str(&self.choices(snapshot, winner));
        text
    }

    fn choices(&self, snapshot: &Snapshot, winner: &L4Candidate) -> String {
        let mut routes = snapshot.l4_routes();
        let route = routes.find(|r| r.kind == winner.kind && r.object == winner.route);
        let choices = route.map(|route| route.choices.as_slice());
        let choices = choices.unwrap_or_default();
        let targets = Targets {
            snapshot,
            refused: self.fate(),
            unavailable: self.fate(),
        };
        let sum = choices.iter().map(|choice| u64::from(choice.weight)).sum();
        let lines = choices.iter().map(|choice| {
            let share = targets.share(choice.weight, sum, &choice.target);
            format!("  {share}\n")
        });
        lines.collect()
    }

    /// What becomes of what no backend gets.
    fn fate(&self) -> &'static str {
        match self.kind {
            Kind::Tls(_) => "closed without an alert",
            Kind::Tcp => "reset",
            Kind::Udp => "dropped",
        }
    }
}

/// What an explanation is made of.
pub(super) struct Told<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) table: &'a Table,
    pub(super) title: &'a str,
    pub(super) origin: &'a str,
}

fn mode_text(mode: &TlsMode) -> &'static str {
    match mode {
        TlsMode::Passthrough => "the bytes go on as they came",
        TlsMode::Terminate { .. } => "TLS ends at the worker, and the bytes inside go on",
    }
}

fn candidate_text(candidate: &L4Candidate, style: Style) -> String {
    let (mark, why) = match candidate.verdict {
        L4Verdict::Won => ("→", "wins".to_owned()),
        L4Verdict::LessSpecific => (
            " ",
            format!("its hostname {} is less specific", candidate.claimed),
        ),
        L4Verdict::Younger => (
            " ",
            "a route above it is older, or first by name".to_owned(),
        ),
    };
    let kind = candidate.kind.object_kind();
    let rule = match candidate.rule.as_str() {
        "0" => String::new(),
        name => format!(" rule {name}"),
    };
    let line = format!("{mark} {kind} {}{rule}: {why}", candidate.route);
    report::emphasise(style, mark, &line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(text: &str) -> Option<(Kind, u16)> {
        let flow = Flow::parse(text).ok()?;
        Some((flow.kind, flow.port))
    }

    #[test]
    fn connections_and_datagrams_are_written_as_urls() {
        let name = || Kind::Tls("db.example.com".to_owned());
        assert_eq!(flow("tls://db.example.com:5432"), Some((name(), 5432)));
        assert_eq!(flow("tls://db.example.com"), Some((name(), 443)));
        assert_eq!(flow("tls://:443"), Some((Kind::Tls(String::new()), 443)));
        assert_eq!(flow("tcp://:5432"), Some((Kind::Tcp, 5432)));
        assert_eq!(flow("udp://10.0.0.1:53/"), Some((Kind::Udp, 53)));
        for bad in [
            "tcp://db",
            "udp://",
            "tcp://:70000",
            "http://a",
            "GET",
            "ftp://a:1",
        ] {
            assert_eq!(flow(bad), None, "{bad}");
        }
    }
}
