//! How entries, votes and log ids are written. These bytes are on disk for ever: fields are added, never changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use openraft::{EntryPayload, entry::RaftEntry as _, impls::leader_id_adv::LeaderId};
use prost::{Message, Oneof};
use tidegate_proto::raft::v1;

use crate::{
    level,
    member::Member,
    raft::{Entry, LogId, Membership, Payload, Vote},
};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MembershipWire {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<VotersWire>,
    #[prost(message, repeated, tag = "2")]
    nodes: Vec<NodeWire>,
}

#[derive(Clone, PartialEq, Message)]
struct VotersWire {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeWire {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    peer_address: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    api_address: String,
    /// 0 from releases that knew of no feature levels.
    #[prost(uint32, tag = "5")]
    level: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VoteWire {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordWire {
    #[prost(oneof = "RecordKind", tags = "1, 2, 3, 4, 5, 6")]
    pub(super) kind: Option<RecordKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum RecordKind {
    #[prost(message, tag = "1")]
    Segment(SegmentWire),
    #[prost(message, tag = "2")]
    Entry(v1::LogEntry),
    #[prost(message, tag = "3")]
    Vote(VoteWire),
    #[prost(message, tag = "4")]
    Committed(CommittedWire),
    #[prost(message, tag = "5")]
    Truncated(TruncatedWire),
    #[prost(message, tag = "6")]
    Purged(v1::LogId),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SegmentWire {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(uint64, tag = "2")]
    pub(super) len: u64,
    #[prost(uint64, tag = "3")]
    pub(super) next: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CommittedWire {
    #[prost(message, optional, tag = "1")]
    pub(super) id: Option<v1::LogId>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TruncatedWire {
    #[prost(uint64, tag = "1")]
    pub(super) first_gone: u64,
}

pub(crate) fn log_id_wire(id: &LogId) -> v1::LogId {
    v1::LogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id(wire: &v1::LogId) -> LogId {
    LogId {
        leader_id: LeaderId {
            term: wire.term,
            node_id: wire.node,
        },
        index: wire.index,
    }
}

/// The entry as it is written and sent; its command is shared, not copied.
pub(crate) fn entry_wire(entry: &Entry) -> v1::LogEntry {
    let (command, membership) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(payload) => (Some(payload.bytes.clone()), None),
        EntryPayload::Membership(membership) => {
            let membership = encode_membership(membership).encode_to_vec();
            (None, Some(membership.into()))
        }
    };
    v1::LogEntry {
        id: Some(log_id_wire(&entry.log_id())),
        command,
        membership,
    }
}

/// # Errors
///
/// A sentence, where it is none.
pub(crate) fn entry(wire: v1::LogEntry) -> Result<Entry, String> {
    let id = wire.id.ok_or("an entry does not say where it stands")?;
    let index = id.index;
    let payload = payload(wire.command, wire.membership);
    Ok(Entry {
        log_id: log_id(&id),
        payload: payload.map_err(|why| format!("log entry {index} {why}"))?,
    })
}

fn payload(
    command: Option<Bytes>,
    membership: Option<Bytes>,
) -> Result<EntryPayload<Payload, u64, Member>, String> {
    Ok(match (command, membership) {
        (Some(bytes), None) => EntryPayload::Normal(Payload::new(bytes)),
        (None, Some(bytes)) => {
            let membership = MembershipWire::decode(bytes).map_err(|error| error.to_string())?;
            EntryPayload::Membership(decode_membership(membership)?)
        }
        (None, None) => EntryPayload::Blank,
        (Some(_), Some(_)) => return Err("is a command and a membership at once".to_owned()),
    })
}

pub(crate) fn encode_membership(membership: &Membership) -> MembershipWire {
    let voters = |ids: &std::collections::BTreeSet<u64>| VotersWire {
        ids: ids.iter().copied().collect(),
    };
    let node = |(id, member): (&u64, &Member)| NodeWire {
        id: *id,
        peer_address: member.peer_address.clone(),
        name: member.name.clone(),
        api_address: member.api_address.clone(),
        level: member.level,
    };
    MembershipWire {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(node).collect(),
    }
}

pub(crate) fn decode_membership(wire: MembershipWire) -> Result<Membership, String> {
    let configs: Vec<_> = wire
        .configs
        .into_iter()
        .map(|voters| voters.ids.into_iter().collect())
        .collect();
    let member = |node: NodeWire| {
        let (name, peer_address) = (node.name, node.peer_address);
        let api_address = node.api_address;
        let member = Member {
            name,
            peer_address,
            api_address,
            level: level::told(node.level),
        };
        (node.id, member)
    };
    let nodes: BTreeMap<u64, Member> = wire.nodes.into_iter().map(member).collect();
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| error.to_string())
}

pub(super) fn vote_wire(vote: &Vote) -> VoteWire {
    VoteWire {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(super) fn vote(wire: &VoteWire) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: wire.term,
            node_id: wire.node,
        },
        committed: wire.committed,
    }
}
