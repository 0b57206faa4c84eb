//! Which messages a node does not take.

use tidegate_proto::raft::v1;
use tonic::Status;

use crate::{directory::Identity, level, level::Levels};

/// Holds an envelope against who this node is.
///
/// # Errors
///
/// FAILED_PRECONDITION where the message is for another cluster, epoch or node, or one of the two does not know the
/// cluster's feature level.
pub(super) fn check(
    envelope: Option<&v1::Envelope>,
    identity: &Identity,
    levels: &Levels,
) -> Result<(), Status> {
    let refused = |what: String| Err(Status::failed_precondition(what));
    let Some(envelope) = envelope else {
        return refused("the message has no envelope".to_owned());
    };
    if envelope.cluster_id != identity.cluster_id {
        return refused(format!(
            "the message is of cluster {}, this node belongs to cluster {}",
            envelope.cluster_id, identity.cluster_id
        ));
    }
    if envelope.epoch != identity.epoch {
        return refused(format!(
            "the message is of epoch {} of the cluster, this node is in epoch {}: one of the two was restored \
             from a backup",
            envelope.epoch, identity.epoch
        ));
    }
    if envelope.to != identity.node_id {
        return refused(format!(
            "the message is for node {}, this one is node {}",
            envelope.to, identity.node_id
        ));
    }
    let (highest, reached) = (level::told(envelope.highest_level), levels.reached());
    if highest < reached {
        return refused(format!(
            "node {} knows feature levels up to {highest}, the cluster is at level {reached}: run it with the release \
             that it had before, or a newer one",
            envelope.from
        ));
    }
    let heard = levels.hear(envelope.level);
    heard.or_else(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn identity() -> Identity {
        Identity {
            format_version: 2,
            node_id: 2,
            cluster_id: "c1".to_owned(),
            epoch: 3,
            created_at_unix_ms: 0,
        }
    }

    fn refused(change: impl FnOnce(&mut v1::Envelope)) -> String {
        let mut envelope = v1::Envelope {
            cluster_id: "c1".to_owned(),
            epoch: 3,
            from: 1,
            to: 2,
            level: 2,
            highest_level: 3,
        };
        change(&mut envelope);
        let status = check(Some(&envelope), &identity(), &Levels::new(3, 2)).unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        status.message().to_owned()
    }

    #[test]
    fn a_message_of_another_cluster_epoch_or_node_is_refused() {
        assert!(refused(|envelope| envelope.cluster_id = "c2".to_owned()).contains("cluster c2"));
        assert!(refused(|envelope| envelope.epoch = 2).contains("epoch 2"));
        assert!(refused(|envelope| envelope.to = 7).contains("node 7"));
        assert!(check(None, &identity(), &Levels::new(3, 2)).is_err());
    }

    #[test]
    fn a_message_of_a_release_that_is_too_old_is_refused_and_so_is_one_of_a_cluster_that_is_too_new()
     {
        let old = refused(|envelope| envelope.highest_level = 0);
        assert!(old.contains("node 1 knows feature levels up to 1"), "{old}");
        let new = refused(|envelope| envelope.level = 4);
        assert!(new.contains("at feature level 4"), "{new}");
    }

    #[test]
    fn a_message_for_this_node_is_taken() {
        let envelope = v1::Envelope {
            cluster_id: "c1".to_owned(),
            epoch: 3,
            from: 9,
            to: 2,
            level: 1,
            highest_level: 2,
        };
        assert!(check(Some(&envelope), &identity(), &Levels::new(3, 2)).is_ok());
    }
}
