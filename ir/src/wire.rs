//! Parts to bytes and back; the only place where the wire's messages meet the model.

mod decode;
mod decode_backend;
mod decode_edge;
mod decode_filter;
mod decode_l4;
mod encode;
mod encode_backend;
mod encode_edge;
mod encode_filter;
mod encode_l4;

use prost::Message;
use tidegate_proto::ir::v1 as proto;

use crate::{Part, PartKind};

/// Bytes that are no valid part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {cause}")]
pub struct InvalidPart {
    /// Path of the field inside the part, such as `rules[2].matches[0].path`.
    pub field: String,
    /// What is wrong with it.
    pub cause: String,
}

impl InvalidPart {
    fn new(field: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            cause: cause.into(),
        }
    }

    fn inside(mut self, parent: impl std::fmt::Display) -> Self {
        self.field = if self.field.is_empty() {
            parent.to_string()
        } else {
            format!("{parent}.{}", self.field)
        };
        self
    }
}

/// Encodes a part. Equal parts give equal bytes: the messages have no maps.
pub(crate) fn encode(part: &Part) -> Vec<u8> {
    match part {
        Part::Listener(listener) => proto::Listener::from(&**listener).encode_to_vec(),
        Part::Route(route) => proto::Route::from(route).encode_to_vec(),
        Part::Backend(backend) => proto::Backend::from(&**backend).encode_to_vec(),
        Part::EndpointSet(endpoints) => proto::EndpointSet::from(endpoints).encode_to_vec(),
        Part::Certificate(certificate) => proto::Certificate::from(certificate).encode_to_vec(),
        Part::PrivateKey(key) => proto::PrivateKey::from(key).encode_to_vec(),
        Part::TrustBundle(bundle) => proto::TrustBundle::from(bundle).encode_to_vec(),
        Part::L4Route(route) => proto::L4Route::from(route).encode_to_vec(),
    }
}

/// Decodes and checks a part.
pub(crate) fn decode(kind: PartKind, bytes: &[u8]) -> Result<Part, InvalidPart> {
    Ok(match kind {
        PartKind::Listener => {
            let listener = crate::Listener::try_from(message::<proto::Listener>(bytes)?)?;
            Part::from(listener)
        }
        PartKind::Route => Part::Route(message::<proto::Route>(bytes)?.try_into()?),
        PartKind::Backend => {
            let backend = crate::Backend::try_from(message::<proto::Backend>(bytes)?)?;
            Part::Backend(Box::new(backend))
        }
        PartKind::EndpointSet => {
            Part::EndpointSet(message::<proto::EndpointSet>(bytes)?.try_into()?)
        }
        PartKind::Certificate => {
            Part::Certificate(message::<proto::Certificate>(bytes)?.try_into()?)
        }
        PartKind::PrivateKey => Part::PrivateKey(message::<proto::PrivateKey>(bytes)?.try_into()?),
        PartKind::TrustBundle => {
            Part::TrustBundle(message::<proto::TrustBundle>(bytes)?.try_into()?)
        }
        PartKind::L4Route => Part::L4Route(message::<proto::L4Route>(bytes)?.try_into()?),
    })
}

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, InvalidPart> {
    M::decode(bytes).map_err(|error| InvalidPart::new("", error.to_string()))
}

#[cfg(test)]
mod tests;
