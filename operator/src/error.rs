//! How errors are written into logs, conditions and events.

use std::error::Error;

use tidegate_runtime::error::chain_until;

/// The error and its causes in one line; a refusal of the API server in its own words.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    chain_until(error, refusal)
}

/// What the API server refuses with is a sentence already; around it kube puts the whole answer.
fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    // Errors that hold one have it in a box, which is an error, too.
    let boxed = error.downcast_ref::<Box<kube::Error>>();
    let plain = boxed.map(|error| &**error).or_else(|| error.downcast_ref());
    match plain {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => {
            Some(status.message.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("Deployment web could not be read")]
    struct Outer(#[source] Box<kube::Error>);

    #[test]
    fn of_an_answer_of_the_api_server_its_sentence_is_told() {
        let status = Status::failure("deployments.apps \"web\" is forbidden", "Forbidden");
        let outer = Outer(Box::new(kube::Error::Api(Box::new(status.with_code(403)))));
        assert_eq!(
            chain(&outer),
            "Deployment web could not be read: deployments.apps \"web\" is forbidden"
        );
    }
}
