#!/usr/bin/env bash
# How fast one HTTP/2 stream goes up and down over paths of several lengths.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source edge-tests/tools/gateway.bash
edge-tests/tools/install nginx-light curl openssl
readonly MIB=${MIB:-64}

plain=$(free_port) https=$(free_port) backend=$(free_port)
certificate edge.test
gateway "$plain" "$https" edge.test
route_all files
chmod 755 "$work"
mkdir "$work/files"
head -c "$((MIB << 20))" /dev/urandom >"$work/files/large"
# A PUT to itself answers when the whole body is read.
cat >"$work/nginx.conf" <<NGINX
daemon off; master_process off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 64; }
http {
  access_log off; client_max_body_size 0;
  client_body_temp_path $work/t; proxy_temp_path $work/t; fastcgi_temp_path $work/t; uwsgi_temp_path $work/t; scgi_temp_path $work/t;
  server {
    listen 127.0.0.1:$backend; root $work/files;
    location /up { proxy_pass http://127.0.0.1:$backend/read; }
    location /read { client_body_buffer_size 1m; return 204; }
  }
}
NGINX
nginx -c "$work/nginx.conf" &
started+=($!)
serve --backend "edge/files=127.0.0.1:$backend" "$@"

printf '%-12s %14s %14s   (MB/s, %s MiB on one stream)\n' 'round trip' upload download "$MIB"
for delay_ms in 0 5 25 50 100; do
  relay=$(free_port)
  python3 edge-tests/clients/delay.py "$relay" "$plain" "$delay_ms" &
  started+=($!)
  for _ in $(seq 50); do
    curl -so /dev/null "http://127.0.0.1:$relay/" && break
    sleep 0.1
  done
  curl=(curl -sS --http2-prior-knowledge --max-time 120 -o /dev/null)
  up=$("${curl[@]}" -T "$work/files/large" -w '%{speed_upload}' "http://127.0.0.1:$relay/up")
  down=$("${curl[@]}" -w '%{speed_download}' "http://127.0.0.1:$relay/large")
  printf '%9d ms %14.1f %14.1f\n' "$((2 * delay_ms))" "$(bc -l <<<"$up / 1000000")" "$(bc -l <<<"$down / 1000000")"
done
