#!/usr/bin/env bash
# Finds Ollama or builds it once from the Go module that go.mod names; prints the binary's path on stdout and what it
# does on stderr. Exit 1 with the reason when there is no way: the server then runs in quote mode.
#
# The module's zip leaves out vendor/ folders, so three headers are missing: Debian has two, the third comes from the Go
# module of malgo. The plain build is SSE2 only: with AVX2 the flags below make it four to eight times faster.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }

if command -v ollama >/dev/null 2>&1; then command -v ollama; exit 0; fi
version=$(go list -m -f '{{.Version}}' github.com/ollama/ollama)
cache=${PATCHBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/patchbay}
bin=$cache/ollama-$version/ollama
if [ -x "$bin" ]; then echo "$bin"; exit 0; fi
[ "${PATCHBAY_BUILD_OLLAMA:-1}" = 1 ] || { say "Ollama is not installed (PATCHBAY_BUILD_OLLAMA=0: not built)"; exit 1; }

missing=()
command -v g++ >/dev/null || missing+=(g++)
[ -e /usr/include/nlohmann/json.hpp ] || missing+=(nlohmann-json3-dev)
[ -e /usr/include/stb/stb_image.h ] || missing+=(libstb-dev)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then say "Ollama's build needs: sudo apt-get install ${missing[*]}"; exit 1; fi
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2 || { say "apt-get could not install ${missing[*]}"; exit 1; }
fi

work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p "$work/include/miniaudio" "$work/build" "$(dirname "$bin")"
malgo=$(GOFLAGS=-mod=mod go mod download -json github.com/gen2brain/malgo@v0.11.24 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cp "$malgo/miniaudio.h" "$work/include/miniaudio/"
flags="-O3"
grep -q -m1 -w avx2 /proc/cpuinfo && grep -q -m1 -w fma /proc/cpuinfo && flags="$flags -march=x86-64-v3"
say "building Ollama $version once into $cache (about 6 minutes on 2 cores; flags: $flags)"
# its own module, so that its requirements never meet ours
cat >"$work/build/go.mod" <<EOF
module build
go 1.26
require github.com/ollama/ollama $version
EOF
cat >"$work/build/main.go" <<'EOF'
package main

import (
	"context"
	"os"

	"github.com/ollama/ollama/cmd"
)

func main() {
	if err := cmd.NewCLI().ExecuteContext(context.Background()); err != nil {
		os.Exit(1)
	}
}
EOF
(
  cd "$work/build"
  GOFLAGS=-mod=mod go mod tidy >&2
  CGO_ENABLED=1 CGO_CFLAGS="$flags -I$work/include" CGO_CXXFLAGS="$flags -I$work/include" \
    go build -trimpath -ldflags "-s -w -X=github.com/ollama/ollama/version.Version=${version#v}" -o "$bin.part" . >&2
)
mv "$bin.part" "$bin"
say "built $bin"
echo "$bin"
