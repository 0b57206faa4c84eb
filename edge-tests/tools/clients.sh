#!/usr/bin/env bash
# curl, a Go client, Python's httpx and Chromium each load a page with 200 resources through HTTPS and HTTP/2.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tidegate"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
edge-tests/tools/install nginx-light chromium curl openssl
command -v go >/dev/null || edge-tests/tools/install golang-go
python="$cache/edge-tests/python"
[[ -x $python/bin/python ]] || python3 -m venv "$python"
"$python/bin/python" -c 'import httpx, h2' 2>/dev/null || "$python/bin/pip" install --quiet 'httpx[http2]'
cargo build --quiet --release -p tidegate-cli

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
backend=$(free_port) port=$(free_port) admin=$(free_port) api=$(free_port)

bash edge-tests/clients/page.sh "$work/page"
chmod 755 "$work"
cat >"$work/nginx.conf" <<NGINX
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 1024; }
http {
  access_log off; types { text/html html; text/css css; image/svg+xml svg; text/javascript js; }
  client_body_temp_path $work/t; proxy_temp_path $work/t; fastcgi_temp_path $work/t; uwsgi_temp_path $work/t; scgi_temp_path $work/t;
  server { listen 127.0.0.1:$backend; root $work/page; }
}
NGINX
nginx -c "$work/nginx.conf" &
started+=($!)

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7 -subj /CN=page.test \
  -addext subjectAltName=DNS:page.test -addext basicConstraints=critical,CA:FALSE \
  -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
cat >"$work/objects.yaml" <<YAML
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: tidegate}
spec: {controllerName: tidegate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: page, namespace: page}
spec:
  gatewayClassName: tidegate
  listeners:
  - name: https
    port: $port
    protocol: HTTPS
    tls: {certificateRefs: [{name: page}]}
---
apiVersion: v1
kind: Secret
metadata: {name: page, namespace: page}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 "$work/certificate.pem")
  tls.key: $(base64 -w0 "$work/key.pem")
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: page, namespace: page}
spec:
  parentRefs: [{name: page}]
  rules: [{backendRefs: [{name: page, port: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: page, namespace: page}
spec: {ports: [{name: http, port: 80}]}
YAML
"$CARGO_TARGET_DIR/release/tidegate" up "$work/objects.yaml" --backend "page/page=127.0.0.1:$backend" \
  --listen "127.0.0.1:$api" --admin "127.0.0.1:$admin" --access-log >"$work/tidegate.log" 2>&1 &
started+=($!)

url="https://page.test:$port"
for _ in $(seq 100); do
  curl -so /dev/null --cacert "$work/certificate.pem" --resolve "page.test:$port:127.0.0.1" "$url/" && break
  sleep 0.1
done

failures=0
report() { # NAME, wanted, got
  if [[ $3 == "$2" ]]; then
    printf '%-10s ok: %s\n' "$1" "$3"
  else
    printf '%-10s FAILED: wanted "%s", got "%s"\n' "$1" "$2" "$3"
    failures=1
  fi
}

{
  echo "url = \"$url/\""
  grep -oE '(src|href)=/[^ >]+' "$work/page/index.html" | sed "s#^[a-z]*=\(.*\)#url = \"$url\1\"#"
} >"$work/urls"
sed -i 's#$#\noutput = /dev/null#' "$work/urls"
got=$(curl -sS --no-progress-meter --http2 --parallel --parallel-max 100 --cacert "$work/certificate.pem" \
  --resolve "page.test:$port:127.0.0.1" -w '%{http_version} %{http_code}\n' --config "$work/urls" 2>"$work/curl.log" |
  sort | uniq -c | sed 's/^ *//')
report curl "201 2 200" "$got"

cp edge-tests/clients/client.go "$work/"
got=$(cd "$work" && GOFLAGS=-mod=mod GO111MODULE=off go run client.go "$url" certificate.pem "127.0.0.1:$port" 2>&1 || true)
report Go "loaded 201" "$got"

cat >"$work/sitecustomize.py" <<PYTHON
import socket

of_system = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: of_system("127.0.0.1" if host in ("page.test", b"page.test") else host, *more, **named)
PYTHON
got=$(PYTHONPATH="$work" "$python/bin/python" edge-tests/clients/client.py "$url" "$work/certificate.pem" 2>&1 || true)
report httpx "loaded 201" "$got"

pin=$(openssl x509 -in "$work/certificate.pem" -pubkey -noout | openssl pkey -pubin -outform der |
  openssl dgst -sha256 -binary | base64)
got=$(timeout 90 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/chromium" \
  --host-resolver-rules="MAP page.test 127.0.0.1" --ignore-certificate-errors-spki-list="$pin" \
  --dump-dom "$url/" 2>"$work/chromium.log" | grep -o 'loaded [0-9]* ran [^<]*' || true)
report Chromium "loaded 201 ran 50 failed 0 by h2" "$got"

bad=$(grep -c '"status":[^2]' "$work/tidegate.log" || true)
report statuses "0 answers other than 2xx" "$bad answers other than 2xx"
exit $failures
