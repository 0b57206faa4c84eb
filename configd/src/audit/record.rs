//! One record of the audit log.

use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::call;
use crate::caller::Caller;
use crate::name::code_name;

/// Names of changed objects in a record, at most.
const OBJECTS_MAX: usize = 20;
/// Bytes of a text that callers choose, at most.
const TEXT_LEN_MAX: usize = 512;

/// What happened, before it has its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// SPIFFE id of the caller, `plaintext:ADDRESS`, or `in-process`.
    pub caller: String,
    /// Path of the gRPC method.
    pub method: String,
    /// Id of the call: what its metadata had as `x-request-id`, or one that configd made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub call_id: String,
    /// The pool that the request was about, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pool: String,
    /// The source that the request was about, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What the caller calls the request; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Why, in the caller's words; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The first changes: `put HTTPRoute shop/cart`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// How many changes there were in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub changes_total: u64,
    /// `OK`, or the name of a gRPC status code.
    pub outcome: String,
    /// Why not, where it is not `OK`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The revision that contains the changes; 0 where nothing was written.
    #[serde(skip_serializing_if = "is_zero")]
    pub revision: u64,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 1 without gaps.
    pub number: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_unix_ms: i64,
    /// Digest of the record before it, 64 hexadecimal digits.
    pub previous: String,
    /// Refusals before this one that were too many to be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refusals_left_out: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Event {
    /// An event of the call that is being answered, without an outcome yet.
    pub(crate) fn new(caller: &Caller, method: &str) -> Self {
        let event = Self {
            call_id: call::current_id(),
            ..Self::default()
        };
        event.called(caller, method)
    }

    /// Who called what.
    pub(crate) fn called(self, caller: &Caller, method: &str) -> Self {
        Self {
            caller: caller.to_string(),
            method: bounded(method),
            ..self
        }
    }

    /// The pool that it is about, and why, in the caller's words.
    pub(crate) fn of_pool(&mut self, pool: &str, reason: &str) {
        self.pool = bounded(pool);
        self.reason = bounded(reason);
    }

    /// The source that it is about, and why, in the caller's words.
    pub(crate) fn of_source(&mut self, source: &str, reason: &str) {
        self.source = bounded(source);
        self.reason = bounded(reason);
    }

    /// One more thing that the request changes.
    pub(crate) fn changes(&mut self, change: &str) {
        self.changes_total += 1;
        if self.changes.len() < OBJECTS_MAX {
            self.changes.push(bounded(change));
        }
    }

    /// What the caller said about the request.
    pub(crate) fn asked(mut self, source: &str, request_id: &str, reason: &str) -> Self {
        self.source = bounded(source);
        self.request_id = bounded(request_id);
        self.reason = bounded(reason);
        self
    }

    /// What the request changes.
    pub(crate) fn changing(mut self, changes: impl ExactSizeIterator<Item = String>) -> Self {
        self.changes_total = changes.len() as u64;
        self.changes = changes
            .take(OBJECTS_MAX)
            .map(|text| bounded(&text))
            .collect();
        self
    }

    /// What came of it: the revision, or the refusal.
    pub(crate) fn ended(mut self, outcome: Result<u64, &Status>) -> Self {
        match outcome {
            Ok(revision) => {
                "OK".clone_into(&mut self.outcome);
                self.revision = revision;
            }
            Err(status) => {
                self.outcome = code_name(status.code());
                self.message = bounded(status.message());
            }
        }
        self
    }
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
