//! Secrets that are gone from the cluster while something names them: configd keeps what they were last, and is told so.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::cluster::Observed;
use crate::key::ObjectKey;

/// On a Secret as configd gets it; nobody else's annotations of Secrets are sent.
const DELETED: &str = "tidegate.dev/deleted";

/// Whether an object outlives its deletion while something names it.
pub(super) fn is_kept(key: &ObjectKey) -> bool {
    key.is("", "Secret")
}

/// A Secret as it was last, marked as deleted.
pub(super) fn deleted(last: &Arc<Observed>) -> Arc<Observed> {
    let Ok(mut content) = serde_json::from_slice::<Value>(&last.content) else {
        return last.clone();
    };
    if !content["metadata"]["annotations"][DELETED].is_null() {
        return last.clone();
    }
    content["metadata"]["annotations"][DELETED] = json!("true");
    Arc::new(Observed {
        content: Bytes::from(content.to_string()),
        ..Observed::clone(last)
    })
}
