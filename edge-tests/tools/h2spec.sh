#!/usr/bin/env bash
# h2spec, strict, against the ports for plain text and for HTTPS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash
h2spec=$(go_tool github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible)

plain=$(free_port) https=$(free_port)
certificate edge.test
gateway "$plain" "$https" edge.test
route_all echo
serve

failed=0
check() {
  local port=$1 allowed=$2
  shift 2
  timeout 120 "$h2spec" --strict --host 127.0.0.1 --port "$port" "$@" >"$work/h2spec.out" || true
  tail -1 "$work/h2spec.out"
  local failures
  failures=$(sed -n '/^Failures/,$p' "$work/h2spec.out" | grep -c '×' || true)
  if [[ $failures -ne 0 && ! ($failures -eq 1 && -n $allowed) ]] || ! grep -q 'tests,' "$work/h2spec.out"; then
    sed -n '/^Failures/,$p' "$work/h2spec.out"
    failed=1
  elif [[ $failures -eq 1 ]] && ! grep -q "$allowed" <(sed -n '/^Failures/,$p' "$work/h2spec.out"); then
    sed -n '/^Failures/,$p' "$work/h2spec.out"
    failed=1
  fi
}
echo "HTTPS:"
check "$https" "" --tls --insecure
echo "plain text (one exception, see docs/reference/http2.md: bytes that are no preface are HTTP/1.1 there):"
check "$plain" "Sends invalid connection preface"
exit "$failed"
