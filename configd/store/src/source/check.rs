//! Holds commands about sources against the documented bounds; an error is a sentence.

use prost::Message as _;
use tidegate_proto::{
    objects::v1::Object,
    raft::v1::{self, change_source::Change, session_write::Write},
};

use crate::command::{at_most, check_key, check_object, check_put};

/// Bytes of one piece of a full set, at most.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// A lease in milliseconds, at least, where there is one: each renewal is a log entry.
const LEASE_MS_MIN: u64 = 5_000;
/// A lease in milliseconds, at most.
const LEASE_MS_MAX: u64 = 86_400_000;
/// How long a source may be stale before it is withdrawn, in milliseconds, at most: a year.
const WITHDRAW_MS_MAX: u64 = 31_536_000_000;

pub(crate) fn check_open(open: &v1::OpenSession) -> Result<(), String> {
    check_name(&open.source)?;
    at_most("requested_by", open.by.len(), 253)?;
    at_most("incarnation", open.incarnation.len(), 64)?;
    check_lease(open.lease_ms)
}

pub(crate) fn check_write(write: &v1::SessionWrite) -> Result<(), String> {
    if write.session == 0 || write.sequence == 0 {
        return Err("session and sequence count from 1".to_owned());
    }
    match &write.write {
        Some(Write::PutObjects(put)) if put.base_revision.is_some() => {
            Err("a batch of a session has no base_revision".to_owned())
        }
        Some(Write::PutObjects(put)) => check_put(put),
        Some(Write::CommitStage(commit)) => check_commit(commit),
        None => Err("the write is of a kind that this release does not know".to_owned()),
    }
}

pub(crate) fn check_stage(piece: &v1::StageObjects) -> Result<(), String> {
    check_name(&piece.source)?;
    at_most("a piece of a set", piece.encoded_len(), PIECE_BYTES_MAX)?;
    check_piece(&piece.source, &piece.objects, &piece.kept)
}

pub(crate) fn check_commit(commit: &v1::CommitStage) -> Result<(), String> {
    check_name(&commit.source)?;
    at_most("reason", commit.reason.len(), 256)?;
    at_most("a piece of a set", commit.encoded_len(), PIECE_BYTES_MAX)?;
    check_piece(&commit.source, &commit.objects, &commit.kept)
}

pub(crate) fn check_change(change: &v1::ChangeSource) -> Result<(), String> {
    check_name(&change.source)?;
    match &change.change {
        Some(Change::RenewLease(renewal)) => check_lease(renewal.lease_ms.unwrap_or_default()),
        Some(Change::Policy(policy)) => check_policy(policy),
        Some(Change::DropStage(_) | Change::ConfirmDeletions(_) | Change::Withdraw(_)) => Ok(()),
        None => Err("the change is of a kind that this release does not know".to_owned()),
    }
}

fn check_name(source: &str) -> Result<(), String> {
    at_most("source", source.len(), 63)?;
    match source.is_empty() {
        true => Err("source is empty".to_owned()),
        false => Ok(()),
    }
}

fn check_lease(lease_ms: u64) -> Result<(), String> {
    match lease_ms {
        0 | LEASE_MS_MIN..=LEASE_MS_MAX => Ok(()),
        _ => Err(format!(
            "lease_ms is {lease_ms}, 0 for none and {LEASE_MS_MIN} to {LEASE_MS_MAX} are allowed"
        )),
    }
}

fn check_policy(policy: &v1::SourcePolicy) -> Result<(), String> {
    if let Some(percent) = policy.hold_percent.filter(|percent| *percent > 100) {
        return Err(format!("hold_percent is {percent}, at most 100 is allowed"));
    }
    let too_long = |after: &u64| *after > WITHDRAW_MS_MAX;
    if let Some(after) = policy.withdraw_after_ms.filter(too_long) {
        return Err(format!(
            "withdraw_after_ms is {after}, at most {WITHDRAW_MS_MAX} is allowed"
        ));
    }
    Ok(())
}

fn check_piece(source: &str, objects: &[Object], kept: &[v1::KeptObject]) -> Result<(), String> {
    for (index, object) in objects.iter().enumerate() {
        check_object(source, object).map_err(|why| format!("objects[{index}]: {why}"))?;
    }
    for (index, kept) in kept.iter().enumerate() {
        check_key(source, kept.key.as_ref()).map_err(|why| format!("kept[{index}]: {why}"))?;
    }
    Ok(())
}
