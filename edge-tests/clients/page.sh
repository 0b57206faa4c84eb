#!/usr/bin/env bash
# Makes a page with 200 resources, which says in its own body what became of them: page.sh FOLDER
set -euo pipefail
folder=$1
mkdir -p "$folder"
{
  echo '<!doctype html><html><head><meta charset="utf-8"><title>page</title>'
  echo '<script>window.ran = 0; window.failed = 0; function bad() { window.failed++; }</script>'
  for number in $(seq 50); do
    echo "<link rel=stylesheet href=/style-$number.css onerror='bad()'>"
    echo ".s$number { color: #$(printf '%06x' "$number"); }" >"$folder/style-$number.css"
  done
  echo '</head><body>'
  for number in $(seq 100); do
    echo "<img src=/image-$number.svg onerror='bad()'>"
    printf '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!-- %0*d --></svg>\n' $((number * 100)) 0 \
      >"$folder/image-$number.svg"
  done
  for number in $(seq 50); do
    echo "<script src=/script-$number.js onerror='bad()'></script>"
    echo "window.ran++;" >"$folder/script-$number.js"
  done
  cat <<'PAGE'
<p id=verdict></p>
<script>
window.addEventListener('load', () => {
  const all = performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'));
  const protocols = [...new Set(all.map(one => one.nextHopProtocol))].join('+');
  const done = all.filter(one => one.responseStatus === 200).length;
  document.getElementById('verdict').textContent =
    `loaded ${done} ran ${window.ran} failed ${window.failed} by ${protocols}`;
});
</script></body></html>
PAGE
} >"$folder/index.html"
