#!/usr/bin/env bash
# The house with real browsers and phones. PATCHBAY_TEST_SHOTS=dir keeps pictures of every screen. RUN=TestName: one test.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -f webui/dist/index.html ] || (cd webui && npm ci --silent --no-audit --no-fund && npm run --silent build)
how=(-p 1 -count=1 -timeout 25m -run "${RUN:-Browser}" "$@") packages="./channels/voice/webleg ./server"
export PATCHBAY_TEST_BROWSER=1
if [ -n "${GOTESTSUM:-}" ]; then # deploy/test.sh: what fails runs again, and that is said
  exec "$GOTESTSUM" --format testname --rerun-fails=2 --rerun-fails-max-failures=6 --rerun-fails-run-root-test --packages="$packages" -- "${how[@]}"
fi
# shellcheck disable=SC2086
exec go test -v "${how[@]}" $packages
