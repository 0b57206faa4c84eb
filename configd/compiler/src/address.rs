//! The addresses that a Gateway asks for, against those that its workers have.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::api::gateway::GatewayAddress;

/// The addresses of a Gateway, settled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// Those that it has, as its status lists them.
    pub(crate) bound: Vec<Value>,
    /// Why it does not have one that it asks for.
    pub(crate) unusable: Option<String>,
}

/// Gives a Gateway the addresses that it asks for, or all if it does not say; with none known, what it
/// asks for is taken on trust and nothing is listed.
pub(crate) fn settle(asked: &[GatewayAddress], known: &[IpAddr]) -> Addresses {
    if known.is_empty() {
        return Addresses::default();
    }
    let valued = asked.iter().filter(|address| !address.value.is_empty());
    let valued: Vec<_> = valued.collect();
    let listed = |address: &IpAddr| json!({"type": "IPAddress", "value": address.to_string()});
    if valued.len() < asked.len() || asked.is_empty() {
        return Addresses {
            bound: known.iter().map(listed).collect(),
            unusable: unusable(&valued, known),
        };
    }
    let bound = known
        .iter()
        .filter(|known| valued.iter().any(|asked| asked.is(known)));
    Addresses {
        bound: bound.map(listed).collect(),
        unusable: unusable(&valued, known),
    }
}

fn unusable(valued: &[&GatewayAddress], known: &[IpAddr]) -> Option<String> {
    let mut missing = valued
        .iter()
        .filter(|asked| !known.iter().any(|known| asked.is(known)));
    let missing = missing.next()?;
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    Some(format!(
        "{} {} is no address of the workers; they have {}",
        missing.type_,
        missing.value,
        known.join(", ")
    ))
}

impl GatewayAddress {
    fn is(&self, address: &IpAddr) -> bool {
        self.type_ == "IPAddress" && self.value.parse() == Ok(*address)
    }
}
