#!/usr/bin/env bash
# What OpenSSL's client is refused at an HTTPS listener, and that its sessions resume.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash

https=$(free_port)
certificate edge.test
gateway "$(free_port)" "$https" edge.test
serve

failed=0
# Runs OpenSSL's client, with what comes from stdin, and looks for a text: expect TEXT OPTION…
expect() {
  local wanted=$1
  shift
  # A refused handshake ends it with an error, which is what is looked for.
  timeout 20 openssl s_client -connect "127.0.0.1:$https" -servername edge.test "$@" >"$work/said" 2>&1 || true
  if grep -qE "$wanted" "$work/said"; then
    printf 'ok    %s: %s\n' "$*" "$wanted"
  else
    printf 'FAIL  %s: no "%s" in\n' "$*" "$wanted"
    cat "$work/said"
    failed=1
  fi
}
# What is typed, with time for answers in between: a session ticket comes after the handshake.
typed() {
  for line in "$@"; do
    sleep 1
    printf '%s\n' "$line"
  done
  sleep 1
}

expect 'alert (protocol version|handshake failure)' -tls1 -cipher 'DEFAULT@SECLEVEL=0' </dev/null
expect 'alert (protocol version|handshake failure)' -tls1_1 -cipher 'DEFAULT@SECLEVEL=0' </dev/null
expect 'alert handshake failure' -tls1_2 -cipher 'AES128-SHA:AES256-SHA256@SECLEVEL=0' </dev/null
expect 'alert handshake failure' -tls1_2 -cipher 'ECDHE-ECDSA-AES128-SHA@SECLEVEL=0' </dev/null
expect 'Cipher is ECDHE-ECDSA-AES256-GCM-SHA384' -tls1_2 </dev/null
expect 'Cipher is TLS_AES_256_GCM_SHA384' -tls1_3 </dev/null
expect 'Compression: NONE' -tls1_2 -comp </dev/null
expect 'ALPN protocol: h2' -alpn http/1.1,h2 </dev/null
expect 'alert no application protocol' -alpn spdy/3 </dev/null
# The client waits for an answer until the connection has been without a request for too long.
expect 'no renegotiation|unexpected eof' -tls1_2 < <(typed R)
for version in -tls1_2 -tls1_3; do
  expect 'New, TLS' "$version" -sess_out "$work/session" < <(typed)
  expect 'Reused, TLS' "$version" -sess_in "$work/session" </dev/null
done
printf 'GET / HTTP/1.1\r\nhost: edge.test\r\n\r\n' >"$work/early"
expect 'Max Early Data: 0' -tls1_3 -sess_out "$work/session" < <(typed)
expect 'Early data was (not sent|rejected)' -tls1_3 -sess_in "$work/session" -early_data "$work/early" </dev/null
exit "$failed"
