#!/usr/bin/env bash
# PostgreSQL behind TCPRoute and both modes of TLSRoute, under pgbench while 200 changes touch every route of it.
#
# pgbench knows no TLS before PostgreSQL's own handshake, so stunnel speaks TLS for it, with the server name that
# the TLSRoute has; in front of the server another stunnel does for Passthrough. SECONDS_MAX=60 is the time of pgbench.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash
edge-tests/tools/install postgresql stunnel4 openssl
readonly CHANGES=200 CLIENTS=8 SECONDS_MAX=${SECONDS_MAX:-60}
readonly WAYS=(tcp end pass) NAMES=(kept-tcp kept-end kept-pass new-tcp new-end new-pass)
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)

# Ports: the server's, the gateway's for TCP, its only one for TLS, and those at which pgbench finds each way.
database=$(free_port) behind_tls=$(free_port) tls=$(free_port)
declare -A at
for name in "${NAMES[@]}"; do at[$name]=$(free_port); done

certificate end.test
certificate pass.test
chmod 755 "$work"
install -d -o postgres -g postgres "$work/cluster"
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
as_postgres "$bin/initdb" -D "$work/cluster" -U bench -A trust --no-sync >/dev/null
as_postgres "$bin/postgres" -D "$work/cluster" -h 127.0.0.1 -p "$database" -c unix_socket_directories= -c fsync=off \
  >"$work/postgres.log" 2>&1 &
started+=($!)
export PGUSER=bench PGDATABASE=postgres PGHOST=127.0.0.1
sql() { "$bin/psql" -qAtX -p "$1" -c "$2"; }
for _ in $(seq 100); do
  "$bin/pg_isready" -q -p "$database" && break
  sleep 0.1
done
"$bin/pgbench" -q -i -s 10 -p "$database" 2>/dev/null

# One service of stunnel: stunnel_service NAME ACCEPT CONNECT LINE…
stunnel_service() {
  printf '[%s]\naccept = 127.0.0.1:%s\nconnect = 127.0.0.1:%s\n' "$1" "$2" "$3"
  printf '%s\n' "${@:4}"
}
{
  printf 'foreground = yes\npid =\ndebug = warning\n'
  stunnel_service server "$behind_tls" "$database" "cert = $work/pass.test.pem" "key = $work/pass.test.key"
  for kind in kept new; do
    for way in end pass; do
      stunnel_service "$kind-$way" "${at[$kind-$way]}" "$tls" 'client = yes' "sni = $kind.$way.test" \
        "CAfile = $work/$way.test.pem" 'verifyPeer = yes'
    done
  done
} >"$work/stunnel.conf"
stunnel4 "$work/stunnel.conf" 2>"$work/stunnel.log" &
started+=($!)

# A route, and the backends that follow as SERVICE=WEIGHT: route KIND-OF-ROUTE NAME SECTION HOST SERVICE=WEIGHT…
route() {
  printf -- '---\napiVersion: gateway.networking.k8s.io/v1\nkind: %s\nmetadata: {name: %s, namespace: data}\nspec:\n' "$1" "$2"
  printf '  parentRefs: [{name: edge, sectionName: %s}]\n' "$3"
  [[ -z $4 ]] || printf '  hostnames: [%s]\n' "$4"
  printf '  rules:\n  - backendRefs:\n'
  local choice
  for choice in "${@:5}"; do
    printf '    - {name: %s, port: 5432, weight: %s}\n' "${choice%=*}" "${choice#*=}"
  done
}
# The routes of a kind to the same choices of backends; those behind stunnel are called …-tls: routes KIND CHOICE…
routes() {
  local kind=$1
  shift
  route TCPRoute "$kind-tcp" "$kind-tcp" '' "$@"
  route TLSRoute "$kind-end" end "$kind.end.test" "$@"
  route TLSRoute "$kind-pass" pass "$kind.pass.test" "${@/=/-tls=}"
}
# All objects at a turn. New connections always have a backend that is there; those that are kept lose theirs by the
# turn: to a Service without endpoints, to nothing at all, to another one that leads to the same server.
objects() {
  cat "$work/fixed.yaml"
  case $(($1 % 4)) in
    0) routes kept one=1; routes new one=1 ;;
    1) routes kept none=1; routes new one=3 two=1 ;;
    2) routes new two=1 ;;
    3) routes kept two=1; routes new one=1 two="$1" ;;
  esac
}
cat >"$work/fixed.yaml" <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: tidegate}
spec: {controllerName: tidegate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: data}
spec:
  gatewayClassName: tidegate
  listeners:
  - {name: kept-tcp, port: ${at[kept-tcp]}, protocol: TCP}
  - {name: new-tcp, port: ${at[new-tcp]}, protocol: TCP}
  - {name: end, port: $tls, protocol: TLS, hostname: "*.end.test", tls: {mode: Terminate, certificateRefs: [{name: end}]}}
  - {name: pass, port: $tls, protocol: TLS, hostname: "*.pass.test", tls: {mode: Passthrough}}
---
apiVersion: v1
kind: Secret
metadata: {name: end, namespace: data}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 "$work/end.test.pem")
  tls.key: $(base64 -w0 "$work/end.test.key")
YAML
for service in one two none one-tls two-tls none-tls; do
  printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: data}\nspec: {selector: {app: %s}, ports: [{port: 5432}]}\n' \
    "$service" "$service" >>"$work/fixed.yaml"
done
# Nobody listens there.
nowhere=$(free_port)
objects 0 >"$work/objects.yaml"
serve --backend "data/one=127.0.0.1:$database" --backend "data/two=127.0.0.1:$database" \
  --backend "data/one-tls=127.0.0.1:$behind_tls" --backend "data/two-tls=127.0.0.1:$behind_tls" \
  --backend "data/none=127.0.0.1:$nowhere" --backend "data/none-tls=127.0.0.1:$nowhere"

failed=0
complain() { echo "FAILED: $*"; failed=1; }
# The processes of the server that hold the connections of an application, ordered.
held() { sql "$database" "select string_agg(pid::text, ' ' order by pid) from pg_stat_activity where application_name = '$1'"; }

readonly LARGE="select n, repeat(md5(n::text), 30) from generate_series(1, 20000) n"
direct=$(sql "$database" "$LARGE" | sha256sum)
for way in "${WAYS[@]}"; do
  [[ $(sql "${at[new-$way]}" "$LARGE" | sha256sum) == "$direct" ]] || complain "$way: 20 MB come out differently"
done

declare -A running before
for name in "${NAMES[@]}"; do
  options=(-n -T "$SECONDS_MAX" -p "${at[$name]}")
  # At rates that leave the machine to the changes. Each transaction of the new ones has a connection of its own.
  case $name in
    kept-*) options+=(-c "$CLIENTS" -j 1 -R 100) ;;
    *) options+=(-c 2 -j 1 -C -S -R 20) ;;
  esac
  PGAPPNAME=$name "$bin/pgbench" "${options[@]}" >"$work/$name.out" 2>"$work/$name.err" &
  running[$name]=$!
  started+=($!)
done
for way in "${WAYS[@]}"; do
  for _ in $(seq 100); do
    before[$way]=$(held "kept-$way")
    [[ $(wc -w <<<"${before[$way]}") -eq $CLIENTS ]] && break
    sleep 0.1
  done
done
for turn in $(seq "$CHANGES"); do
  objects "$turn" >"$work/next.yaml"
  change "$work/next.yaml"
done
for name in "${NAMES[@]}"; do
  kill -0 "${running[$name]}" 2>/dev/null || complain "$name: pgbench ended before the last change; raise SECONDS_MAX"
done
for way in "${WAYS[@]}"; do
  after=$(held "kept-$way")
  [[ $(wc -w <<<"$after") -eq $CLIENTS ]] || complain "kept-$way: the server has the connections of \"$after\""
  [[ $after == "${before[$way]}" ]] || complain "kept-$way: connections of ${before[$way]} are now those of $after"
done

echo "$CHANGES changes while pgbench ran:"
printf '%-10s %14s %8s %10s %12s\n' way transactions failed errors 'per second'
for name in "${NAMES[@]}"; do
  code=0
  wait "${running[$name]}" || code=$?
  done=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/$name.out")
  lost=$(sed -n 's/^number of failed transactions: \([0-9]*\).*/\1/p' "$work/$name.out")
  rate=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/$name.out")
  # pgbench says "pgbench (15…)" on standard error.
  errors=$(grep -vc '^pgbench (' "$work/$name.err" || true)
  printf '%-10s %14s %8s %10s %12s\n' "$name" "${done:-?}" "${lost:-?}" "$errors" "${rate:-?}"
  [[ $code -eq 0 && $lost == 0 && $errors -eq 0 ]] || complain "$name: pgbench ended with $code: $(tail -2 "$work/$name.err")"
done
exit "$failed"
