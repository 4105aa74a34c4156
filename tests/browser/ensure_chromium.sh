#!/bin/sh
# See to a Chromium for the browser tests: one that is installed, else Debian's package, else playwright's own download.
set -eu
python=$1

for name in ${SEERLAB_CHROMIUM:-} chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null && exit 0
  echo "apt-get could not install chromium; trying playwright's own download" >&2
fi

"$python" -m playwright install chromium
