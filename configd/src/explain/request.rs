//! What becomes of a request.

use http::{HeaderMap, Method};
use tidegate_codec::path::{PathRules, normalize};
use tidegate_ir::{Action, Rule, Snapshot};
use tidegate_proto::explain::v1::{
    Candidate as WireCandidate, CandidateVerdict, ExplainRouteResponse, Outcome, RuleName,
};
use tidegate_router::{
    Candidate, Explanation, ListenerVerdict, RequestHead, SniDecision, Table, Verdict, explain,
};

use super::Unexplained;
use super::connection::Connection;
use super::shares::Targets;
use super::words::{changes, filter_text, listener_choice, match_text, mismatch_text};

/// A request.
pub(super) struct Request {
    pub(super) method: Method,
    /// As [`tidegate_router::host_of`] returns it.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    /// The server name of its ClientHello, for HTTPS.
    pub(super) server_name: Option<String>,
}

impl Request {
    pub(super) fn explained(
        &self,
        snapshot: &Snapshot,
        table: &Table,
        bind_port: u16,
    ) -> Result<ExplainRouteResponse, Unexplained> {
        if let Some(name) = &self.server_name
            && let Some(port) = table.l4().tls(bind_port)
            && !matches!(port.decide(Some(name)), SniDecision::Https)
        {
            // The ClientHello leads elsewhere, so the request is never read.
            return Ok(Connection::Tls(name.clone()).explained(snapshot, table, bind_port));
        }
        let path = normalize(&self.path, path_rules(snapshot, bind_port));
        let path = path.map_err(|refusal| {
            let text = format!("the path {}: {refusal}", self.path);
            Unexplained::field("request.path", text)
        })?;
        let head = RequestHead {
            method: &self.method,
            host: &self.host,
            path: &path,
            query: self.query.as_deref(),
            headers: &self.headers,
        };
        let explanation = explain(table, bind_port, &head);
        Ok(ExplainRouteResponse {
            snapshot: None,
            layer4: false,
            listeners: explanation.listeners.iter().map(listener_choice).collect(),
            candidates: explanation.candidates.iter().map(candidate).collect(),
            outcome: Some(outcome(snapshot, &explanation)),
        })
    }
}

/// How paths are read on a port; flags of the workers are not known here.
fn path_rules(snapshot: &Snapshot, bind_port: u16) -> PathRules {
    let mut listeners = snapshot.listeners();
    let listener = listeners.find(|listener| listener.bind_port == bind_port);
    let said = listener.and_then(|listener| listener.edge.merge_slashes);
    let usual = PathRules::default();
    PathRules {
        merge_slashes: said.unwrap_or(usual.merge_slashes),
    }
}

fn candidate(candidate: &Candidate) -> WireCandidate {
    let (verdict, why) = match &candidate.verdict {
        Verdict::Won => (CandidateVerdict::Won, "wins".to_owned()),
        Verdict::Lost(mismatch) => (CandidateVerdict::Lost, mismatch_text(mismatch)),
        Verdict::Outranked => {
            let why = "matches, but a rule above it wins".to_owned();
            (CandidateVerdict::Outranked, why)
        }
    };
    WireCandidate {
        rule: Some(RuleName {
            kind: candidate.kind.object_kind().to_owned(),
            route: candidate.route.to_string(),
            rule: candidate.rule.clone(),
            match_index: u32::try_from(candidate.match_index).unwrap_or(u32::MAX),
            conditions: match_text(&candidate.conditions),
            host: candidate.host.to_string(),
            claimed: candidate.claimed.to_string(),
        }),
        verdict: verdict.into(),
        why,
    }
}

fn outcome(snapshot: &Snapshot, explanation: &Explanation) -> Outcome {
    let Some(winner) = explanation.winner() else {
        let mut listeners = explanation.listeners.iter();
        let is_chosen = listeners.any(|(_, verdict)| *verdict == ListenerVerdict::Chosen);
        let cause = match is_chosen {
            true => "no rule matches",
            false => "no listener of that port is for this host",
        };
        return Outcome {
            answer: format!("404: {cause}"),
            ..Outcome::default()
        };
    };
    let mut routes = snapshot.routes();
    let route = routes.find(|route| route.kind == winner.kind && route.object == winner.route);
    match route.and_then(|route| route.rules.get(winner.rule_index)) {
        Some(rule) => carried_out(snapshot, rule),
        None => Outcome {
            answer: "the rule is not in the snapshot".to_owned(),
            ..Outcome::default()
        },
    }
}

fn carried_out(snapshot: &Snapshot, rule: &Rule) -> Outcome {
    let (answer, shares) = match &rule.action {
        Action::Fault(reason) => (format!("500: {reason}"), Vec::new()),
        Action::Redirect(redirect) => {
            let (code, changes) = (redirect.status_code, changes(redirect));
            (format!("{code} redirect{changes}"), Vec::new())
        }
        Action::Forward(choices) => {
            let sum: u64 = choices.iter().map(|choice| u64::from(choice.weight)).sum();
            let targets = Targets {
                snapshot,
                refused: "500",
                unavailable: "503",
            };
            let shares = choices.iter().map(|choice| {
                let mut share = targets.share(choice.weight, sum, &choice.target);
                share.filters = choice.filters.iter().map(filter_text).collect();
                share
            });
            (String::new(), shares.collect())
        }
    };
    Outcome {
        answer,
        filters: rule.filters.iter().map(filter_text).collect(),
        request_timeout_ms: rule.timeouts.request_ms,
        attempt_timeout_ms: rule.timeouts.backend_request_ms,
        shares,
    }
}
