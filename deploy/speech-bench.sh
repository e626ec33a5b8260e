#!/usr/bin/env bash
# Measures the engines that hear and speak, on telephone sound (8 kHz, µ-law, noise, 2 % of the packets lost): wrong words by
# voice, time to the final text and to the first sound, false begins of speech, processor and memory. Takes five minutes;
# the figures in deploy/decisions.md are from here. Other languages are measured where `deploy/models.sh languages` has fetched them. The voices to be understood are other engines': flite and espeak-ng.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for tool in flite espeak-ng; do command -v $tool >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} != 0 ] && [ "$(id -u)" = 0 ]; then
  apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
elif [ ${#missing[@]} != 0 ]; then echo "without ${missing[*]} (sudo apt-get install ${missing[*]}) there are fewer voices"; fi
bash deploy/models.sh speech >/dev/null
echo "$(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
PATCHBAY_CI=1 PATCHBAY_TEST_SPEECH_REPORT=1 go test -count=1 -timeout 30m -run '^(TestReport|TestLocalTongues)$' -v ./channels/voice/speech | grep -v -E '^(===|---|ok|PASS)|level='
