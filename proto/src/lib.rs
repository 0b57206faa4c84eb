//! The wire contracts of Tidegate: generated messages and, with the feature `grpc`, services, and how these are encoded.
//!
//! The documentation of every message and field stands in the `.proto` files.
#![allow(
    missing_docs,
    reason = "prost copies the comments of the .proto files where it can"
)]
#![allow(
    clippy::all,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "the code is generated"
)]

#[cfg(feature = "grpc")]
mod codec;

#[cfg(feature = "grpc")]
pub use codec::WholeCodec;

/// Parts of a snapshot.
pub mod ir {
    /// Package `tidegate.ir.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.ir.v1.rs"));
    }
}

/// Objects in.
pub mod objects {
    /// Package `tidegate.objects.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.objects.v1.rs"));
    }
}

/// Snapshots out.
pub mod snapshots {
    /// Package `tidegate.snapshots.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.snapshots.v1.rs"));
    }
}

/// Changes to the history of snapshots.
pub mod history {
    /// Package `tidegate.history.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.history.v1.rs"));
    }
}

/// Changes that are looked at before they are made.
pub mod plans {
    /// Package `tidegate.plans.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.plans.v1.rs"));
    }
}

/// Versions that go to some workers first.
pub mod rollouts {
    /// Package `tidegate.rollouts.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.rollouts.v1.rs"));
    }
}

/// Where requests go and why.
pub mod explain {
    /// Package `tidegate.explain.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.explain.v1.rs"));
    }
}

/// Who feeds objects.
pub mod sources {
    /// Package `tidegate.sources.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.sources.v1.rs"));
    }
}

/// Statuses out.
pub mod statuses {
    /// Package `tidegate.statuses.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.statuses.v1.rs"));
    }
}

/// The cluster of configds itself.
pub mod cluster {
    /// Package `tidegate.cluster.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.cluster.v1.rs"));
    }
}

/// Entries of the replicated log, and how its nodes talk.
pub mod raft {
    /// Package `tidegate.raft.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tidegate.raft.v1.rs"));
    }
}

/// What authorization servers are asked; not ours, so not part of [`DESCRIPTORS`].
pub mod auth {
    /// Package `envoy.service.auth.v3`.
    pub mod v3 {
        include!(concat!(env!("OUT_DIR"), "/envoy.service.auth.v3.rs"));
    }
}

/// Every package above but the last as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
