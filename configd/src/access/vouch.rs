//! How a configd tells another one who has sent what it passes on; nobody else is believed.

use http::HeaderMap;
use http::HeaderValue;
use tidegate_runtime::identity::{Identity, Role};

use super::Refusal;
use crate::caller::Caller;

/// The SPIFFE id of who has sent it.
const CALLER: &str = "tidegate-caller";

/// Marks what a configd has passed on, so that it is not passed on again.
pub(crate) const PASSED_ON: &str = "tidegate-passed-on";

/// Says in a request that is passed on who has sent it, as far as that was proved.
pub(crate) fn vouch(caller: &Caller, headers: &mut HeaderMap) {
    headers.insert(PASSED_ON, HeaderValue::from_static("1"));
    headers.remove(CALLER);
    if let Caller::Peer(identity) = caller
        && let Ok(id) = HeaderValue::from_str(&identity.to_string())
    {
        headers.insert(CALLER, id);
    }
}

/// Who has sent a request: whom a configd vouches for, else who is at the other end. What anybody else says about it
/// is taken out.
pub(crate) fn original(caller: Caller, headers: &mut HeaderMap) -> Result<Caller, Refusal> {
    let Some(said) = headers.remove(CALLER) else {
        return Ok(caller);
    };
    let Caller::Peer(by) = &caller else {
        return Ok(caller);
    };
    if by.principal.role() != Role::Configd {
        return Ok(caller);
    }
    let identity = said
        .to_str()
        .ok()
        .and_then(|id| id.parse::<Identity>().ok());
    match identity {
        Some(identity) if identity.trust_domain == by.trust_domain => Ok(Caller::Peer(identity)),
        _ => Err(Refusal::Vouched {
            by: by.to_string(),
            said: String::from_utf8_lossy(said.as_bytes()).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(path: &str) -> Caller {
        let id = format!("spiffe://tidegate.test/{path}");
        Caller::Peer(id.parse().expect("it is an identity"))
    }

    fn said(id: &str) -> HeaderMap {
        let value = HeaderValue::from_str(id).expect("it is a header");
        HeaderMap::from_iter([(http::HeaderName::from_static(CALLER), value)])
    }

    #[test]
    fn whom_a_configd_vouches_for_is_the_caller() {
        let mut headers = HeaderMap::new();
        vouch(&peer("automation/write/ci"), &mut headers);
        let found = original(peer("configd/n2"), &mut headers);
        assert_eq!(found, Ok(peer("automation/write/ci")));
        assert!(headers.contains_key(PASSED_ON) && !headers.contains_key(CALLER));
    }

    #[test]
    fn nobody_else_is_believed() {
        let plain = Caller::Plaintext(([127, 0, 0, 1], 1).into());
        for caller in [
            peer("operator/eu-1"),
            peer("worker/default"),
            peer("automation/admin/root"),
            plain,
            Caller::InProcess,
        ] {
            let mut headers = said("spiffe://tidegate.test/automation/admin/root");
            assert_eq!(original(caller.clone(), &mut headers), Ok(caller));
            assert!(!headers.contains_key(CALLER));
        }
    }

    #[test]
    fn a_configd_speaks_for_its_own_trust_domain_only() {
        for id in ["spiffe://other.test/automation/admin/root", "root", ""] {
            let found = original(peer("configd/n2"), &mut said(id));
            assert!(matches!(found, Err(Refusal::Vouched { .. })), "{id}");
        }
    }

    #[test]
    fn what_a_caller_says_of_itself_is_not_passed_on() {
        let mut headers = said("spiffe://tidegate.test/automation/admin/root");
        vouch(&Caller::Plaintext(([127, 0, 0, 1], 1).into()), &mut headers);
        assert!(!headers.contains_key(CALLER));
    }
}
