//! What becomes of a TLS or TCP connection, or of a datagram.

use tidegate_ir::{ListenerProtocol, Snapshot, TlsMode};
use tidegate_proto::explain::v1::{
    Candidate, CandidateVerdict, ExplainRouteResponse, Outcome, RuleName, Share,
};
use tidegate_router::{
    L4Candidate, L4Explanation, L4Request, L4Verdict, ListenerVerdict, Table, explain_l4,
};

use super::shares::Targets;
use super::words::listener_choice;

/// A connection or datagram.
pub(super) enum Connection {
    /// With the server name of the ClientHello, empty for none.
    Tls(String),
    Tcp,
    Udp,
}

impl Connection {
    pub(super) fn explained(
        &self,
        snapshot: &Snapshot,
        table: &Table,
        bind_port: u16,
    ) -> ExplainRouteResponse {
        let request = match self {
            Self::Tls(name) => L4Request::Tls(name),
            Self::Tcp => L4Request::Tcp,
            Self::Udp => L4Request::Udp,
        };
        let explanation = explain_l4(table, bind_port, request);
        let (answer, shares) = self.outcome(snapshot, &explanation);
        ExplainRouteResponse {
            snapshot: None,
            layer4: true,
            listeners: explanation.listeners.iter().map(listener_choice).collect(),
            candidates: explanation.candidates.iter().map(candidate).collect(),
            outcome: Some(Outcome {
                answer,
                shares,
                ..Outcome::default()
            }),
        }
    }

    fn outcome(&self, snapshot: &Snapshot, explanation: &L4Explanation) -> (String, Vec<Share>) {
        let mut listeners = explanation.listeners.iter();
        let chosen = listeners.find(|(_, verdict)| *verdict == ListenerVerdict::Chosen);
        let chosen = chosen.and_then(|(name, _)| snapshot.listener(name));
        let Some(listener) = chosen else {
            let cause = match self {
                Self::Tls(_) => "no listener of that port is for this server name",
                Self::Tcp => "no TCP listener has that port",
                Self::Udp => "no UDP listener has that port",
            };
            return (format!("{}: {cause}", self.fate()), Vec::new());
        };
        if listener.protocol.is_http() {
            let text = "TLS ends at the worker, with HTTP inside; ask again with GET https://…";
            return (text.to_owned(), Vec::new());
        }
        let Some(winner) = explanation.winner() else {
            let cause = match self {
                Self::Tls(_) => "no route of the listener has a hostname for this server name",
                Self::Tcp | Self::Udp => "no route is attached to the listener",
            };
            return (format!("{}: {cause}", self.fate()), Vec::new());
        };
        let answer = match &listener.protocol {
            ListenerProtocol::Tls(mode) => mode_text(mode).to_owned(),
            _ => String::new(),
        };
        (answer, self.shares(snapshot, winner))
    }

    fn shares(&self, snapshot: &Snapshot, winner: &L4Candidate) -> Vec<Share> {
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
        let shares = choices.iter();
        let shares = shares.map(|choice| targets.share(choice.weight, sum, &choice.target));
        shares.collect()
    }

    /// What becomes of what no backend gets.
    fn fate(&self) -> &'static str {
        match self {
            Self::Tls(_) => "closed without an alert",
            Self::Tcp => "reset",
            Self::Udp => "dropped",
        }
    }
}

fn mode_text(mode: &TlsMode) -> &'static str {
    match mode {
        TlsMode::Passthrough => "the bytes go on as they came",
        TlsMode::Terminate { .. } => "TLS ends at the worker, and the bytes inside go on",
    }
}

fn candidate(candidate: &L4Candidate) -> Candidate {
    let claimed = candidate.claimed.to_string();
    let (verdict, why) = match candidate.verdict {
        L4Verdict::Won => (CandidateVerdict::Won, "wins".to_owned()),
        L4Verdict::LessSpecific => {
            let why = format!("its hostname {claimed} is less specific");
            (CandidateVerdict::LessSpecific, why)
        }
        L4Verdict::Younger => {
            let why = "a route above it is older, or first by name".to_owned();
            (CandidateVerdict::Younger, why)
        }
    };
    Candidate {
        rule: Some(RuleName {
            kind: candidate.kind.object_kind().to_owned(),
            route: candidate.route.to_string(),
            rule: candidate.rule.clone(),
            match_index: 0,
            conditions: String::new(),
            host: candidate.host.to_string(),
            claimed,
        }),
        verdict: verdict.into(),
        why,
    }
}
