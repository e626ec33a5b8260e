#!/usr/bin/env bash
# The responder against the real Ollama (found or built once, deploy/ollama.sh) with a real model of 4 MB, and with
# SmolLM2 when deploy/models.sh can fetch it; then one conversation by telephone, with our own ear and voice. Proves the wire and the
# limits, not the quality of answers.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! binary=$(bash deploy/ollama.sh); then
  [ "${PATCHBAY_CI:-}" = 1 ] && exit 1
  echo "SKIP: no Ollama on this box"; exit 0
fi
model=$(bash deploy/models.sh smollm2-135m) || echo "SmolLM2 is out of reach: the 4 MB model alone"
bash deploy/models.sh speech >/dev/null || echo "no speech models: the conversation by telephone is skipped"
PATCHBAY_TEST_OLLAMA=$binary PATCHBAY_TEST_MODEL=${model:-} go test -p 1 -count=1 -v -run 'RealOllama' ./llm ./server
