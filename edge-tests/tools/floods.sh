#!/usr/bin/env bash
# Eighteen kinds of floods in three strengths while good clients want answers: edge-tests/run floods [PART OF A NAME]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/target}"
edge-tests/tools/install nginx-light
cargo build --quiet --release -p tidegate-cli -p tidegate-edge-tests
exec "$CARGO_TARGET_DIR/release/tidegate-edge-tests" floods "$CARGO_TARGET_DIR/release/tidegate" "$@"
