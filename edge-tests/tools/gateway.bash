# What the tools share that run foreign suites: a built `tidegate`, a temporary folder, free ports, a clean end.
# Sourced, never run.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tidegate"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
work=$(mktemp -d)
started=()

finish() {
  for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A Go program of a module, built into the cache once: go_tool PACKAGE@VERSION
go_tool() {
  local name="${1%@*}"
  name="$cache/tools/$(basename "$name")"
  [[ -x $name ]] || GOBIN="$cache/tools" go install "$1"
  echo "$name"
}

# A certificate for a name and the names right below it, in $work/NAME.pem and $work/NAME.key.
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$1,DNS:*.$1" -addext basicConstraints=critical,CA:FALSE \
    -keyout "$work/$1.key" -out "$work/$1.pem" 2>/dev/null
}

# Serves $work/objects.yaml and waits until it does: serve [OPTION…]; with the binary $TIDEGATE, or with one that is
# built first.
serve() {
  : >"$work/tidegate.out" >"$work/tidegate.log"
  [[ -n ${TIDEGATE:-} ]] || cargo build --quiet --release -p tidegate-cli
  "${TIDEGATE:-$CARGO_TARGET_DIR/release/tidegate}" up "$work/objects.yaml" --admin "127.0.0.1:$(free_port)" \
    --listen "127.0.0.1:$(free_port)" "$@" >"$work/tidegate.out" 2>"$work/tidegate.log" &
  started+=($!)
  for _ in $(seq 100); do
    grep -q '^listening' "$work/tidegate.out" "$work/tidegate.log" && return
    sleep 0.1
  done
  cat "$work/tidegate.out" "$work/tidegate.log" >&2
  return 1
}

# The newest version of the configuration that the gateway has said it serves, besides the first.
served_version() {
  local version
  version=$(sed -n 's/^snapshot \([0-9]*\) .*/\1/p' "$work/tidegate.log" | tail -1)
  echo "${version:-1}"
}

# Makes a file the objects that are served, and waits until they are: change FILE
change() {
  local before
  before=$(served_version)
  mv "$1" "$work/objects.yaml"
  for _ in $(seq 500); do
    [[ $(served_version) -gt $before ]] && return
    sleep 0.02
  done
  echo "a change was not served in ten seconds:" >&2
  tail -5 "$work/tidegate.log" >&2
  return 1
}

# A Gateway with a port for plain text and one for HTTPS by the certificate of a name: gateway PLAIN HTTPS NAME
gateway() {
  cat >"$work/objects.yaml" <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: tidegate}
spec: {controllerName: tidegate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  gatewayClassName: tidegate
  listeners:
  - {name: plain, port: $1, protocol: HTTP}
  - name: https
    port: $2
    protocol: HTTPS
    tls: {certificateRefs: [{name: edge}]}
---
apiVersion: v1
kind: Secret
metadata: {name: edge, namespace: edge}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 "$work/$3.pem")
  tls.key: $(base64 -w0 "$work/$3.key")
YAML
}

# A Service with port 80, and an HTTPRoute of everything to it, added to what `gateway` wrote: route_all SERVICE
route_all() {
  cat >>"$work/objects.yaml" <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: edge}
spec: {ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all, namespace: edge}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{name: $1, port: 80}]
YAML
}
