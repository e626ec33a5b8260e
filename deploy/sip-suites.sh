#!/usr/bin/env bash
# What others think a SIP server must do: starts a Patchbay of its own (own Postgres, free ports, loopback only) and runs
# outside suites against it: bash deploy/sip-suites.sh. One table: suite, file, expected, got, verdict, and why where a miss
# is by design. The suites lie in $PATCHBAY_CORPORA or ../shared/corpora beside the checkout and are only read: some are
# under the GPL and no part of them belongs here. Exit code 1: something failed that is not explained.
#   ONLY="siphon rfc4475 jambonz sendto pjsip kamailio"   some of them
set -euo pipefail
cd "$(dirname "$0")/.."
corpora=${PATCHBAY_CORPORA:-../shared/corpora}
if [ ! -d "$corpora/sip" ]; then
  echo "SKIPPED: no suites in $corpora (set PATCHBAY_CORPORA); nothing was tested"; exit 0
fi
if ! command -v sipp >/dev/null; then
  [ "${PATCHBAY_CI:-}" = 1 ] && { echo "sipp is missing (apt-get install sip-tester)"; exit 1; }
  echo "SKIPPED: sipp is missing (apt-get install sip-tester); nothing was tested"; exit 0
fi
work=$(mktemp -d "${TMPDIR:-/var/tmp}/patchbay-suites.XXXXXX")
chmod 711 "$work" # as root, Postgres runs as somebody else and must get through
trap 'rm -rf "$work"' EXIT
go build -o "$work/suites" ./deploy/suites
CGO_ENABLED=0 go build -o "$work/server" ./server
"$work/suites" -server "$work/server" -dir "$work" -corpora "$(realpath "$corpora")" -only "${ONLY:-}"
