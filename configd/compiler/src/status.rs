//! Conditions, as the specification's types have them; no times, so that equal input gives equal output.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::objects::ObjectKey;

/// The status that an object should have.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectStatus {
    /// Which object.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The generation that the status is about.
    pub generation: i64,
    /// The pool whose workers must serve it before it is programmed; `None` where no worker does.
    pub pool: Option<Arc<str>>,
    /// For a Gateway: the ports that it serves, in their order.
    pub ports: Vec<BoundPort>,
    /// For a Gateway that is served: the GatewayParameters by which it is, `{"own": …, "ofClass": …}`; `None` where nobody
    /// can remember them.
    pub parameters: Option<Arc<str>>,
    /// The `status` field, but for `lastTransitionTime` and what other controllers own.
    pub status: StatusText,
    /// Certificates of its listeners. When they are valid is for somebody with a clock to say.
    pub shown: Vec<ShownCertificate>,
}

/// A port of a Gateway, and where workers serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoundPort {
    /// As the Gateway says it.
    pub port: u16,
    /// Of UDP; else of TCP.
    pub is_udp: bool,
    /// The port that workers bind.
    pub bind_port: u16,
}

/// A status as JSON text: a fifth of the memory of its tree. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusText(Arc<str>);

impl StatusText {
    /// The status as a tree.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was written from a tree")
    }

    /// The JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Value> for StatusText {
    fn from(status: Value) -> Self {
        Self(status.to_string().into())
    }
}

/// A certificate that a listener shows to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The listener's name.
    pub section_name: Arc<str>,
    /// Namespace and name of the Secret.
    pub secret: Arc<str>,
    /// The first second in which it is valid.
    pub not_before_unix_s: i64,
    /// The last second in which it is valid.
    pub not_after_unix_s: i64,
}

/// One condition, without its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) type_: &'static str,
    pub(crate) status: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The most characters that Kubernetes allows in a message.
const MESSAGE_LEN_MAX: usize = 32_768;

impl Condition {
    pub(crate) fn yes(
        type_: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status: true,
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn no(
        type_: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status: false,
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn json(&self, generation: i64) -> Value {
        let message: String = self.message.chars().take(MESSAGE_LEN_MAX).collect();
        json!({
            "type": self.type_,
            "status": if self.status { "True" } else { "False" },
            "observedGeneration": generation,
            "reason": self.reason,
            "message": message,
        })
    }
}

/// Conditions as the status has them.
pub(crate) fn conditions(conditions: &[Condition], generation: i64) -> Value {
    let each = conditions.iter();
    Value::Array(each.map(|condition| condition.json(generation)).collect())
}
