#!/usr/bin/env bash
# The house with real browsers and phones. PATCHBAY_TEST_SHOTS=dir keeps pictures of every screen.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -f webui/dist/index.html ] || (cd webui && npm ci --silent --no-audit --no-fund && npm run --silent build)
PATCHBAY_TEST_BROWSER=1 go test -p 1 -count=1 -v -timeout 15m -run "${RUN:-Browser}" "$@" ./channels/voice/webleg ./server
