//! openraft's messages as they travel, and back.

use openraft::{
    impls::leader_id_adv::LeaderId,
    raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse},
};
use prost::Message as _;
use tidegate_proto::raft::v1;

pub(super) use crate::log::{log_id, log_id_wire};
use crate::{
    level,
    log::{entry, entry_wire},
    member::Member,
    raft::{Entry, LogId, TypeConfig, Vote},
};

/// Bytes of entries in one message, at most, unless the first is larger.
const APPEND_BYTES_MAX: usize = 4 << 20;

pub(crate) fn member_wire(member: &Member) -> v1::Member {
    v1::Member {
        name: member.name.clone(),
        peer_address: member.peer_address.clone(),
        api_address: member.api_address.clone(),
        level: member.level,
    }
}

pub(crate) fn member(wire: v1::Member) -> Member {
    Member {
        name: wire.name,
        peer_address: wire.peer_address,
        api_address: wire.api_address,
        level: level::told(wire.level),
    }
}

pub(super) fn ballot_wire(vote: &Vote) -> v1::Ballot {
    v1::Ballot {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(super) fn ballot(wire: Option<v1::Ballot>) -> Result<Vote, String> {
    let wire = wire.ok_or("the ballot is missing")?;
    Ok(Vote {
        leader_id: LeaderId {
            term: wire.term,
            node_id: wire.node,
        },
        committed: wire.committed,
    })
}

/// The message, and the last of the entries where not all of them fit into it.
pub(super) fn append_wire(
    request: &AppendEntriesRequest<TypeConfig>,
    envelope: v1::Envelope,
) -> (v1::AppendRequest, Option<LogId>) {
    let mut entries = Vec::new();
    let (mut bytes, mut cut) = (0, None);
    for entry in &request.entries {
        let entry = entry_wire(entry);
        let len = entry.encoded_len();
        if bytes > 0 && bytes + len > APPEND_BYTES_MAX {
            cut = request.entries.get(entries.len() - 1);
            break;
        }
        bytes += len;
        entries.push(entry);
    }
    let message = v1::AppendRequest {
        envelope: Some(envelope),
        ballot: Some(ballot_wire(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_wire),
        entries,
        committed: request.leader_commit.as_ref().map(log_id_wire),
    };
    (message, cut.map(|entry| entry.log_id))
}

pub(super) fn append(wire: v1::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, String> {
    let entries: Result<Vec<Entry>, String> = wire.entries.into_iter().map(entry).collect();
    Ok(AppendEntriesRequest {
        vote: ballot(wire.ballot)?,
        prev_log_id: wire.previous.as_ref().map(log_id),
        entries: entries?,
        leader_commit: wire.committed.as_ref().map(log_id),
    })
}

pub(super) fn appended_wire(response: &AppendEntriesResponse<TypeConfig>) -> v1::AppendResponse {
    let mut wire = v1::AppendResponse::default();
    let result = match response {
        AppendEntriesResponse::Success => v1::AppendResult::Stored,
        AppendEntriesResponse::PartialSuccess(last) => {
            wire.last = last.as_ref().map(log_id_wire);
            v1::AppendResult::Partial
        }
        AppendEntriesResponse::Conflict => v1::AppendResult::Conflict,
        AppendEntriesResponse::HigherVote(vote) => {
            wire.ballot = Some(ballot_wire(vote));
            v1::AppendResult::HigherBallot
        }
    };
    wire.set_result(result);
    wire
}

pub(super) fn appended(
    wire: v1::AppendResponse,
) -> Result<AppendEntriesResponse<TypeConfig>, String> {
    Ok(match wire.result() {
        v1::AppendResult::Stored => AppendEntriesResponse::Success,
        v1::AppendResult::Partial => {
            AppendEntriesResponse::PartialSuccess(wire.last.as_ref().map(log_id))
        }
        v1::AppendResult::Conflict => AppendEntriesResponse::Conflict,
        v1::AppendResult::HigherBallot => AppendEntriesResponse::HigherVote(ballot(wire.ballot)?),
        v1::AppendResult::Unspecified => return Err("the answer is of an unknown kind".to_owned()),
    })
}

pub(super) fn vote_wire(
    request: &VoteRequest<TypeConfig>,
    envelope: v1::Envelope,
    pre_vote: bool,
) -> v1::VoteRequest {
    v1::VoteRequest {
        envelope: Some(envelope),
        ballot: Some(ballot_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_wire),
        transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(super) fn vote(wire: v1::VoteRequest) -> Result<VoteRequest<TypeConfig>, String> {
    let last = wire.last.as_ref().map(log_id);
    let mut request = VoteRequest::new(ballot(wire.ballot)?, last);
    request.leadership_transfer = wire.transfer;
    Ok(request)
}

pub(super) fn voted_wire(response: &VoteResponse<TypeConfig>) -> v1::VoteResponse {
    v1::VoteResponse {
        ballot: Some(ballot_wire(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(log_id_wire),
    }
}

pub(super) fn voted(wire: v1::VoteResponse) -> Result<VoteResponse<TypeConfig>, String> {
    let last = wire.last.as_ref().map(log_id);
    Ok(VoteResponse::new(ballot(wire.ballot)?, last, wire.granted))
}
