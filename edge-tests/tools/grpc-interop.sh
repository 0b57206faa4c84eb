#!/usr/bin/env bash
# The interoperability suite of grpc-go, its client and its server, through the ports for plain text and for HTTPS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash
readonly VERSION=v1.85.0
readonly CASES=(empty_unary large_unary client_streaming server_streaming ping_pong empty_stream
  timeout_on_sleeping_server cancel_after_begin cancel_after_first_response status_code_and_message
  special_status_message custom_metadata unimplemented_method unimplemented_service)
# Iterations of the two soaks: over one connection, and with a connection for each.
readonly SOAK=(--soak_iterations 1000 --soak_max_failures 0 --soak_overall_timeout_seconds 120
  --soak_per_iteration_max_acceptable_latency_ms 5000 --soak_request_size 20000 --soak_response_size 30000)
tools="$cache/tools/grpc-$VERSION"
client="$tools/client" server="$tools/server" long="$tools/long"
if [[ ! -x $client || ! -x $server || edge-tests/grpc/long.go -nt $long ]]; then
  module=$(mktemp -d)
  cp edge-tests/grpc/long.go "$module/"
  (
    cd "$module"
    go mod init interop >/dev/null 2>&1
    go get "google.golang.org/grpc/interop/client@$VERSION" \
      "google.golang.org/grpc/interop/server@$VERSION" >/dev/null 2>&1
    go build -o "$client" google.golang.org/grpc/interop/client
    go build -o "$server" google.golang.org/grpc/interop/server
    go build -o "$long" ./long.go
  )
  rm -rf "$module"
fi

plain=$(free_port) https=$(free_port) backend=$(free_port)
certificate edge.test
gateway "$plain" "$https" edge.test
cat >>"$work/objects.yaml" <<'YAML'
---
apiVersion: v1
kind: Service
metadata: {name: interop, namespace: edge}
spec: {ports: [{port: 80, appProtocol: kubernetes.io/h2c}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: all, namespace: edge}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{name: interop, port: 80}]
YAML
"$server" --port "$backend" 2>"$work/server.log" &
started+=($!)
serve --backend "edge/interop=127.0.0.1:$backend"

failed=0
# One line for what a command came to: judge NAME COMMAND…
judge() {
  local name=$1
  shift
  if timeout 180 "$@" >/dev/null 2>"$work/client.log"; then
    printf '  %-42s passed\n' "$name"
  else
    printf '  %-42s FAILED: %s\n' "$name" "$(tail -1 "$work/client.log")"
    failed=1
  fi
}
run() {
  local port=$1 name
  shift
  for name in "${CASES[@]}"; do
    judge "$name" "$client" --server_host 127.0.0.1 --server_port "$port" --test_case "$name" "$@"
  done
  for name in rpc_soak channel_soak; do
    judge "$name, 1000 calls" "$client" --server_host 127.0.0.1 --server_port "$port" --test_case "$name" \
      "${SOAK[@]}" "$@"
  done
}
echo "plain text:"
run "$plain"
judge "32 MiB in a message, keepalive for a minute" "$long" --server "127.0.0.1:$plain"
echo "HTTPS:"
run "$https" --use_tls --custom_credentials_type '' --use_test_ca --ca_file "$work/edge.test.pem" --server_host_override edge.test
judge "32 MiB in a message, keepalive for a minute" "$long" --server "127.0.0.1:$https" --ca "$work/edge.test.pem"
exit "$failed"
