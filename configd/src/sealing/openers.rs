//! What one worker gets to open its private keys with, and over which connections.

use bytes::Bytes;
use tidegate_proto::snapshots::v1::Opener;
use tidegate_runtime::seal::{self, OpenError};

use super::Sealing;
use crate::caller::Caller;

/// Gives one worker its openers.
#[derive(Debug)]
pub(crate) struct Openers {
    sealing: Sealing,
    is_private: bool,
}

/// Why a worker does not get an opener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenersError {
    /// The part's key is not ours.
    #[error("it cannot be opened")]
    Open(#[from] OpenError),
    /// Whoever is on the way could read it.
    #[error(
        "sealed private keys leave this machine over mTLS only: give configd and the worker certificates (--tls-cert)"
    )]
    Plaintext,
}

impl Sealing {
    /// Openers for a worker.
    pub(crate) fn openers_for(&self, worker: &Caller) -> Openers {
        Openers {
            sealing: self.clone(),
            is_private: is_private(worker),
        }
    }
}

impl Openers {
    /// What opens a part; `None` where it is not sealed.
    pub(crate) fn opener(
        &self,
        digest: &Bytes,
        content: &Bytes,
    ) -> Result<Option<Opener>, OpenersError> {
        if !seal::is_sealed(content) {
            return Ok(None);
        }
        if !self.is_private {
            return Err(OpenersError::Plaintext);
        }
        let id = seal::key_id(content)?;
        let keys = self.sealing.keys.as_ref();
        let opener = keys.ok_or(OpenError::NoKey { id })?.keys.opener(content)?;
        Ok(Some(Opener {
            digest: digest.clone(),
            key: opener.expose().to_vec().into(),
        }))
    }
}

/// Whether nobody else sees what is sent there.
fn is_private(worker: &Caller) -> bool {
    match worker {
        Caller::InProcess | Caller::Peer(_) => true,
        Caller::Plaintext(address) => address.ip().to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_leave_the_machine_over_mtls_only() {
        let far = Caller::Plaintext(([10, 0, 0, 1], 1).into());
        let near = Caller::Plaintext(([127, 0, 0, 1], 1).into());
        let id = "spiffe://tidegate.test/worker/default";
        let peer = Caller::Peer(id.parse().expect("it is an identity"));
        let private = [&far, &near, &peer, &Caller::InProcess].map(is_private);
        assert_eq!(private, [false, true, true, true]);
    }
}
