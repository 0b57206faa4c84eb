//! A node as the others know it.

use std::fmt;

use crate::level::FIRST_LEVEL;

/// How a node is called and reached. Its id is not part of it: names and addresses may be used again, ids never are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Chosen by who runs it, unique in the cluster; 1 to 253 bytes.
    pub name: String,
    /// Where the other nodes reach it: `configd-0.configd:15011`. Empty for a node that is alone.
    pub peer_address: String,
    /// Where clients reach it: `http://configd-0.configd:15010`. May be empty.
    pub api_address: String,
    /// The highest feature level that its release knows. A node that opens says its own, whatever stands here.
    pub level: u32,
}

/// Nothing is known of it.
impl Default for Member {
    fn default() -> Self {
        Self {
            name: String::new(),
            peer_address: String::new(),
            api_address: String::new(),
            level: FIRST_LEVEL,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.api_address.as_str()) {
            ("", "") => f.write_str("a node without a name"),
            (name, "") => f.write_str(name),
            (name, address) => write!(f, "{name} ({address})"),
        }
    }
}
