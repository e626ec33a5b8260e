#!/usr/bin/env bash
# Measures Patchbay on this machine and prints a table: bash deploy/bench.sh. It starts a server of its own on free
# ports of this machine, with its own Postgres (fsync on) and a scripted model that answers at once, and stops it all.
#   QUICK=1                    two minutes instead of ten
#   PARTS="chat load"          only some of: start chat load mix setups calls talk hostile soak line
#   SOAK=30m                   how long the soak is, by default 2m
#   BENCH_DIR=directory        the disk to measure on, by default /var/tmp
#   MODELS=folder              talk: the server's own engines hear and speak (deploy/models.sh speech prints the folder), and
#                              their word error rates over several voices (deploy/speech-bench.sh, five minutes; not with QUICK)
#   NOISE=60                   talk: so many answers are heard in each kind of noise by each of two callers, by default 6
#   LEAK=500                   talk: only so many whole talks, and whether memory, goroutines or descriptors grow
#   PROFILE=directory          also CPU profiles of the server, for go tool pprof
#   URL=http://host:8080 LINK=token [SIP=100@host:5060] [DATABASE_URL=...] [PID=...]   a running server instead; token is
#                              the end of the desk's sign-in address. Without DATABASE_URL only what one agent can show.
# The exit code is 1 only when something was lost or wrong. Timings depend on the machine and are printed, not judged.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d "${BENCH_DIR:-/var/tmp}/patchbay-bench.XXXXXX")
chmod 711 "$work" # as root, Postgres runs as somebody else and must get through
trap 'rm -rf "$work"' EXIT

parts=${PARTS:-start chat load mix setups calls talk hostile soak line}
options=(-parts "$parts")
soak=2m
if [ "${QUICK:-}" = 1 ]; then options+=(-quick); soak=40s; fi
options+=(-soak "${SOAK:-$soak}" -noise "${NOISE:-6}" -leak "${LEAK:-0}")
go build -o "$work/bench" ./deploy/bench
if [ -n "${URL:-}" ]; then
  options+=(-url "$URL" -link "${LINK:?LINK is the token at the end of the sign-in address}" -sip "${SIP:-}" -database "${DATABASE_URL:-}" -pid "${PID:-0}")
else
  overlay=()
  if [ -n "${PROFILE:-}" ]; then
    mkdir -p "$PROFILE"
    options+=(-profile "$PROFILE")
    printf '{"Replace": {"%s/server/profile.go": "%s/deploy/bench/profile.go.txt"}}' "$PWD" "$PWD" >"$work/overlay.json"
    overlay=(-overlay "$work/overlay.json")
  fi
  CGO_ENABLED=0 go build "${overlay[@]}" -o "$work/server" ./server
  options+=(-server "$work/server" -dir "$work")
fi
if [[ " $parts " == *" mix "* ]]; then
  printf '\na conference of ten who all talk (jitter buffers, mixing, encoding)\n'
  go test ./channels/voice/media -run '^$' -bench '^BenchmarkMix10$' -benchtime 2s |
    awk '/^BenchmarkMix10/ { sub(/^[^\/]*\//, "", $1); for (i = 3; i < NF; i++) if ($(i + 1) == "%core") printf "  %-66s %.2f %% of a core   target < 1 %%\n", $1, $i }'
fi
"$work/bench" "${options[@]}" & bench=$!
trap 'kill -TERM "$bench" 2>/dev/null || true' INT TERM
set +e
wait "$bench"; code=$?
while kill -0 "$bench" 2>/dev/null; do wait "$bench"; code=$?; done # a signal ends wait, not yet the bench
if [ "$code" = 0 ] && [ -n "${MODELS:-}" ] && [ "${QUICK:-}${LEAK:-}" = "" ] && [[ " $parts " == *" talk "* ]]; then
  printf '\nwhat the engines hear and speak, on telephone sound\n'
  bash deploy/speech-bench.sh || code=$?
fi
exit $code
