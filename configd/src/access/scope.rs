//! What the name in a certificate limits: an operator to its source, a worker to its pool and itself.

use std::sync::Arc;

use tidegate_runtime::identity::Principal;

use super::Refusal;
use crate::caller::Caller;

impl Caller {
    /// The source that a request is about. An operator's comes from its certificate: a request may leave it out,
    /// and must not name another.
    pub(crate) fn source(&self, asked: &str) -> Result<String, Refusal> {
        let Self::Peer(identity) = self else {
            return Ok(asked.to_owned());
        };
        match &identity.principal {
            Principal::Operator { source } if asked.is_empty() || *asked == **source => {
                Ok(source.to_string())
            }
            Principal::Operator { source } => Err(Refusal::Source {
                caller: self.to_string(),
                own: source.to_string(),
                asked: asked.to_owned(),
            }),
            _ => Ok(asked.to_owned()),
        }
    }

    /// Whether this worker may follow a pool under a name.
    pub(crate) fn follow(&self, pool: &str, worker: &str) -> Result<(), Refusal> {
        let Self::Peer(identity) = self else {
            return Ok(());
        };
        let Principal::Worker {
            pool: own,
            worker: name,
        } = &identity.principal
        else {
            return Err(Refusal::Pool {
                caller: self.to_string(),
                own: "none".to_owned(),
                asked: pool.to_owned(),
            });
        };
        if **own != *pool {
            return Err(Refusal::Pool {
                caller: self.to_string(),
                own: own.to_string(),
                asked: pool.to_owned(),
            });
        }
        match name {
            Some(name) if **name != *worker => Err(self.speaks_for_another(name, worker)),
            _ => Ok(()),
        }
    }

    fn speaks_for_another(&self, own: &Arc<str>, asked: &str) -> Refusal {
        Refusal::Worker {
            caller: self.to_string(),
            own: own.to_string(),
            asked: asked.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(path: &str) -> Caller {
        let id = format!("spiffe://tidegate.test/{path}");
        Caller::Peer(id.parse().expect("it is an identity"))
    }

    #[test]
    fn an_operator_has_the_source_of_its_certificate() {
        let operator = peer("operator/eu-1");
        assert_eq!(operator.source("").as_deref(), Ok("eu-1"));
        assert_eq!(operator.source("eu-1").as_deref(), Ok("eu-1"));
        assert!(matches!(
            operator.source("eu-2"),
            Err(Refusal::Source { .. })
        ));
        assert_eq!(
            peer("automation/write/ci").source("eu-2").as_deref(),
            Ok("eu-2")
        );
        assert_eq!(Caller::InProcess.source("files").as_deref(), Ok("files"));
    }

    #[test]
    fn a_worker_follows_its_pool_under_its_name() {
        let any = peer("worker/shop/web");
        assert_eq!(any.follow("shop/web", "w1"), Ok(()));
        assert!(matches!(
            any.follow("shop", "w1"),
            Err(Refusal::Pool { .. })
        ));
        let named = peer("worker/default/-/w1");
        assert_eq!(named.follow("default", "w1"), Ok(()));
        assert!(matches!(
            named.follow("default", "w2"),
            Err(Refusal::Worker { .. })
        ));
        let admin = peer("automation/admin/root");
        assert!(matches!(
            admin.follow("default", "w1"),
            Err(Refusal::Pool { .. })
        ));
    }
}
