#!/usr/bin/env bash
# A DNS server behind UDPRoute and TCPRoute, asked by dnsperf and dig while 200 changes touch its routes.
#
# dnsperf has flows that live through all changes, and asks nothing twice; dig has a new flow for each question, and
# one try. Neither may miss an answer, and what dig is told must be right. SECONDS_MAX=60 is the time of dnsperf.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash
edge-tests/tools/install nsd bind9-dnsutils dnsperf
readonly CHANGES=200 NAMES=500 ROUNDS=20 SECONDS_MAX=${SECONDS_MAX:-60}

# A server whose answers differ from the other's in one name: name_server NAME PORT
name_server() {
  local folder="$work/$1"
  install -d "$folder"
  {
    printf '$ORIGIN edge.test.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nwho TXT "%s"\n' "$1"
    printf 'big TXT'
    for part in $(seq 12); do printf ' "%0250d"' "$part"; done
    printf '\n'
    for number in $(seq "$NAMES"); do printf 'h%d A 192.0.2.%d\n' "$number" $((number % 250)); done
  } >"$folder/zone"
  cat >"$folder/nsd.conf" <<CONF
server:
  ip-address: 127.0.0.1@$2
  server-count: 1
  username: nsd
  zonesdir: "$folder"
  zonelistfile: "$folder/zones"
  xfrdfile: "$folder/xfrd"
  xfrdir: "$folder"
  pidfile: "$folder/pid"
  logfile: "$folder/log"
  database: ""
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: edge.test
  zonefile: zone
CONF
  chown -R nsd "$folder"
  nsd -d -c "$folder/nsd.conf" 2>"$work/$1.err" &
  started+=($!)
}
ask() { dig @127.0.0.1 -p "$@" +tries=1 +timeout=2; }

chmod 755 "$work"
port=$(free_port) a=$(free_port) b=$(free_port)
name_server a "$a"
name_server b "$b"
for server in "$a" "$b"; do
  for _ in $(seq 50); do
    ask "$server" who.edge.test TXT >/dev/null && break
    sleep 0.1
  done
done

# A route of either protocol: route KIND NAME SECTION CREATED SERVICE=WEIGHT…
route() {
  printf -- '---\napiVersion: gateway.networking.k8s.io/v1\nkind: %s\nmetadata: {name: %s, namespace: dns, creationTimestamp: "%s"}\nspec:\n' \
    "$1" "$2" "$4"
  printf '  parentRefs: [{name: edge, sectionName: %s}]\n  rules:\n  - backendRefs:\n' "$3"
  local choice
  for choice in "${@:5}"; do printf '    - {name: %s, port: 53, weight: %s}\n' "${choice%=*}" "${choice#*=}"; done
}
routes() {
  route UDPRoute main udp 2026-01-02T00:00:00Z "$@"
  route TCPRoute main tcp 2026-01-02T00:00:00Z "$@"
}
# All objects at a turn: one server, the other one, both by weights that differ, an older route before the usual one.
objects() {
  cat "$work/fixed.yaml"
  case $(($1 % 4)) in
    0) routes a=1 ;;
    1) routes b=1 ;;
    2) routes a=1 b="$1" ;;
    3)
      routes b=1
      route UDPRoute older udp 2026-01-01T00:00:00Z a=1
      route TCPRoute older tcp 2026-01-01T00:00:00Z a=1
      ;;
  esac
}
# Who may answer then.
servers=('"a"' '"b"' '"[ab]"' '"a"')
cat >"$work/fixed.yaml" <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: tidegate}
spec: {controllerName: tidegate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: dns}
spec:
  gatewayClassName: tidegate
  listeners:
  - {name: udp, port: $port, protocol: UDP}
  - {name: tcp, port: $port, protocol: TCP}
YAML
for service in a b; do
  cat >>"$work/fixed.yaml" <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: $service, namespace: dns}
spec: {ports: [{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53}]}
YAML
done
objects 0 >"$work/objects.yaml"
serve --backend "dns/a=127.0.0.1:$a" --backend "dns/b=127.0.0.1:$b"

failed=0
complain() { echo "FAILED: $*"; failed=1; }

# An answer that does not fit into a datagram is asked for again over TCP, at the same port.
direct=$(ask "$a" big.edge.test TXT +short +tcp | sha256sum)
large=$(ask "$port" big.edge.test TXT +bufsize=512)
grep -q '^;; Truncated, retrying in TCP mode' <<<"$large" || complain "the large answer was not truncated"
[[ $(ask "$port" big.edge.test TXT +bufsize=512 +short +ignore | wc -l) -eq 0 ]] || complain "it fits into a datagram"
[[ $(ask "$port" big.edge.test TXT +bufsize=512 +short | grep -v '^;' | sha256sum) == "$direct" ]] ||
  complain "the large answer came out differently"

for number in $(seq "$NAMES"); do echo "h$number.edge.test A"; done >"$work/questions"
for number in $(seq "$NAMES"); do echo "192.0.2.$((number % 250))"; done >"$work/answers"
dnsperf -s 127.0.0.1 -p "$port" -d "$work/questions" -l "$SECONDS_MAX" -c 16 -q 64 -Q 2000 -t 2 >"$work/dnsperf.out" 2>&1 &
load=$!
started+=("$load")
rounds() {
  for round in $(seq "$ROUNDS"); do
    ask "$port" -f "$work/questions" +short >"$work/round" 2>&1 || true
    diff "$work/answers" "$work/round" | grep '^>' >>"$work/wrong" || true
    [[ $(wc -l <"$work/round") -eq $NAMES ]] || echo "round $round: $(wc -l <"$work/round") answers" >>"$work/wrong"
  done
}
: >"$work/wrong"
rounds &
asking=$!
started+=("$asking")
for turn in $(seq "$CHANGES"); do
  objects "$turn" >"$work/next.yaml"
  change "$work/next.yaml"
  for protocol in +notcp +tcp; do
    # From a port that nobody had before: another one's flow would go where it has always gone.
    who=$(ask "$port" -b "127.0.0.2#$((20000 + turn))" who.edge.test TXT +short "$protocol" || true)
    [[ $who =~ ^${servers[turn % 4]}$ ]] || echo "change $turn, $protocol: $who" >>"$work/wrong"
  done
done
kill -0 "$load" 2>/dev/null || complain "dnsperf ended before the last change; raise SECONDS_MAX"
wait "$asking"
wait "$load" || complain "dnsperf failed"

figure() { sed -n "s/^ *$1: *\([0-9]*\).*/\1/p" "$work/dnsperf.out" | tail -1; }
sent=$(figure 'Queries sent') answered=$(figure 'Queries completed') lost=$(figure 'Queries lost')
good=$(sed -n 's/^ *Response codes: *NOERROR \([0-9]*\) .*/\1/p' "$work/dnsperf.out")
new=$((ROUNDS * NAMES + 2 * CHANGES))
wrong=$(wc -l <"$work/wrong")
echo "$CHANGES changes while questions were asked:"
printf '%-10s %10s %10s %14s\n' '' asked lost wrong
printf '%-10s %10s %10s %14s\n' 'kept flows' "$sent" "$lost" "$((answered - good))"
printf '%-10s %10s %10s %14s\n' 'new flows' "$new" '' "$wrong lost or wrong"
[[ $sent -gt 0 && $lost -eq 0 && $answered -eq $sent && $good -eq $answered ]] || complain "$(grep -E 'lost|codes' "$work/dnsperf.out")"
[[ $wrong -eq 0 ]] || complain "$(head -5 "$work/wrong")"
exit "$failed"
