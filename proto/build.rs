//! Compiles the .proto files with protox, so that no protoc has to be installed.

use prost::Message as _;

const FILES: [&str; 12] = [
    "tidegate/explain/v1/explain.proto",
    "tidegate/history/v1/history.proto",
    "tidegate/ir/v1/parts.proto",
    "tidegate/objects/v1/objects.proto",
    "tidegate/plans/v1/plans.proto",
    "tidegate/rollouts/v1/rollouts.proto",
    "tidegate/snapshots/v1/snapshots.proto",
    "tidegate/sources/v1/sources.proto",
    "tidegate/statuses/v1/statuses.proto",
    "tidegate/cluster/v1/cluster.proto",
    "tidegate/raft/v1/commands.proto",
    "tidegate/raft/v1/peers.proto",
];

/// Contracts of others, which our services do not offer.
const FOREIGN: [&str; 1] = ["envoy/service/auth/v3/external_auth.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .codec_path("crate::WholeCodec")
        .bytes(".")
        .compile_fds(descriptors)?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(protox::compile(FOREIGN, ["proto"])?)?;
    Ok(())
}
