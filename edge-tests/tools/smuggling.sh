#!/usr/bin/env bash
# Requests that two parsers could read differently, through the gateway before nginx, Apache httpd, HAProxy and Varnish.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/target}"
edge-tests/tools/install nginx-light apache2-bin haproxy varnish
cargo build --quiet --release -p tidegate-cli -p tidegate-edge-tests
exec "$CARGO_TARGET_DIR/release/tidegate-edge-tests" smuggling "$CARGO_TARGET_DIR/release/tidegate"
