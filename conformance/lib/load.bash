# A Gateway with two Pods behind it in the namespace `steady`, and a constant load through it; source lib/build.bash first. What
# is done meanwhile may not cost a request: `end_load` fails if one failed.

readonly system=tidegate-system
kubectl="$conformance/kubectl"
scratch=$(mktemp -d)
load_pid=

clean_up() {
  [[ -z $load_pid ]] || kill "$load_pid" 2>/dev/null || true
  "$kubectl" delete namespace steady --ignore-not-found --timeout=180s >/dev/null 2>&1 || true
  rm -rf "$scratch"
}
trap clean_up EXIT
# The words of a trap do not run while a command in the foreground does, unless the signal ends the script.
trap 'exit 130' INT TERM

step() {
  say "$*"
  [[ -z $load_pid ]] || kill -0 "$load_pid" || fail "the load has ended by itself"
}

# Sets `address` to that of the Gateway `web`.
serve_steady() {
  "$kubectl" apply -f "$conformance/cluster/steady.yaml" >/dev/null
  "$kubectl" rollout status --namespace steady deployment/echo --timeout=120s >/dev/null
  "$kubectl" wait --namespace steady --for=condition=Programmed gateway/web --timeout=180s >/dev/null
  address=$("$kubectl" get --namespace steady gateway/web -o jsonpath='{.status.addresses[0].value}')
  curl --silent --show-error --fail --output /dev/null --max-time 5 --retry 30 --retry-delay 1 --retry-all-errors "http://$address/"
}

begin_load() { # clients and interval, as go/load takes them
  step "load on http://$address/"
  "$load" "http://$address/" "$@" >"$scratch/sum" 2>"$scratch/failures" &
  load_pid=$!
  sleep 5
}

end_load() {
  local verdict=0
  kill -TERM "$load_pid"
  wait "$load_pid" || verdict=$?
  load_pid=
  cat "$scratch/sum"
  ((verdict == 0)) || { cat "$scratch/failures" >&2; fail "requests failed"; }
}
