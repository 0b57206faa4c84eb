#!/usr/bin/env bash
# slowhttptest with 10,000 connections in its four modes while good clients want answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/target}"
edge-tests/tools/install nginx-light slowhttptest
cargo build --quiet --release -p tidegate-cli -p tidegate-edge-tests
# A connection of a slow body holds one to the backend too: 20,000 descriptors are enough.
ulimit -n "$(ulimit -Hn)"
exec "$CARGO_TARGET_DIR/release/tidegate-edge-tests" slow-clients "$CARGO_TARGET_DIR/release/tidegate" "$@"
