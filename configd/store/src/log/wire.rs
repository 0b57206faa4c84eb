//! How entries, votes and log ids are written. These bytes are on disk for ever: fields are added, never changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use openraft::{EntryPayload, entry::RaftEntry as _, impls::leader_id_adv::LeaderId};
use prost::{Message, Oneof};

use crate::{
    level,
    member::Member,
    raft::{Entry, LogId, Membership, Payload, Vote},
};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LogIdWire {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) index: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryWire {
    #[prost(message, required, tag = "1")]
    pub(super) id: LogIdWire,
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    membership: Option<MembershipWire>,
}

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
    Entry(EntryWire),
    #[prost(message, tag = "3")]
    Vote(VoteWire),
    #[prost(message, tag = "4")]
    Committed(CommittedWire),
    #[prost(message, tag = "5")]
    Truncated(TruncatedWire),
    #[prost(message, tag = "6")]
    Purged(LogIdWire),
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
    pub(super) id: Option<LogIdWire>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TruncatedWire {
    #[prost(uint64, tag = "1")]
    pub(super) first_gone: u64,
}

pub(crate) fn log_id_wire(id: &LogId) -> LogIdWire {
    LogIdWire {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id(wire: &LogIdWire) -> LogId {
    LogId {
        leader_id: LeaderId {
            term: wire.term,
            node_id: wire.node,
        },
        index: wire.index,
    }
}

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry_wire(entry).encode_to_vec()
}

pub(super) fn entry_wire(entry: &Entry) -> EntryWire {
    let (command, membership) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(Payload(bytes)) => (Some(bytes.clone()), None),
        EntryPayload::Membership(membership) => (None, Some(encode_membership(membership))),
    };
    EntryWire {
        id: log_id_wire(&entry.log_id()),
        command,
        membership,
    }
}

pub(crate) fn decode_entry(bytes: Bytes) -> Result<Entry, String> {
    entry(EntryWire::decode(bytes).map_err(|error| error.to_string())?)
}

pub(super) fn entry(wire: EntryWire) -> Result<Entry, String> {
    let payload = match (wire.command, wire.membership) {
        (Some(bytes), None) => EntryPayload::Normal(Payload(bytes)),
        (None, Some(membership)) => EntryPayload::Membership(decode_membership(membership)?),
        (None, None) => EntryPayload::Blank,
        (Some(_), Some(_)) => return Err("is a command and a membership at once".to_owned()),
    };
    Ok(Entry {
        log_id: log_id(&wire.id),
        payload,
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
