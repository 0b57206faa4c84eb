#!/usr/bin/env bash
# Autobahn's WebSocket suite against a server directly and through the gateway: each case must have the same result.
#
# CASES='["1.*"]' runs some of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash
readonly SUITE=25.10.1 SERVER=26.10.2
cases=${CASES:-'["*"]'} least=500
[[ -z ${CASES:-} ]] || least=1

# The suite is for Python 2.7.
python2() {
  local version
  if python2.7 -c '' 2>/dev/null; then
    command -v python2.7
    return
  fi
  version=$(pyenv versions --bare 2>/dev/null | grep '^2\.7' | tail -1)
  [[ -n $version ]] || {
    echo "autobahn.sh: the suite needs Python 2.7; \"pyenv install 2.7.18\" brings it" >&2
    return 1
  }
  echo "$(pyenv prefix "$version")/bin/python2.7"
}
server="$cache/edge-tests/websocket-server" suite="$cache/edge-tests/websocket-suite"
if [[ ! -e $server/ready ]]; then
  python3 -m venv "$server"
  # The last virtualenv that knows Python 2.7.
  "$server/bin/pip" install --quiet "autobahn[twisted]==$SERVER" virtualenv==20.15.1
  touch "$server/ready"
fi
if [[ ! -x $suite/bin/wstest ]]; then
  "$server/bin/virtualenv" --quiet --python "$(python2)" "$suite"
  "$suite/bin/pip" install --quiet "autobahntestsuite==$SUITE" 2>/dev/null
fi

plain=$(free_port) https=$(free_port) backend=$(free_port)
certificate edge.test
gateway "$plain" "$https" edge.test
route_all echo
"$server/bin/python" edge-tests/websocket/echo.py "$backend" 2>"$work/echo.log" &
started+=($!)
serve --backend "edge/echo=127.0.0.1:$backend"

cat >"$work/spec.json" <<JSON
{
  "outdir": "$work/report",
  "servers": [
    {"agent": "direct", "url": "ws://127.0.0.1:$backend"},
    {"agent": "tidegate", "url": "ws://127.0.0.1:$plain"}
  ],
  "cases": $cases, "exclude-cases": [], "exclude-agent-cases": {}
}
JSON
(cd "$work" && "$suite/bin/wstest" --mode fuzzingclient --spec spec.json >"$work/suite.log" 2>&1) ||
  { tail -20 "$work/suite.log"; exit 1; }
python3 edge-tests/websocket/compare.py "$work/report/index.json" "$least" direct tidegate
