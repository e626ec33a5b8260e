#!/usr/bin/env bash
# Every test, on a bare Debian 12 with Go and Node: bash deploy/test.sh. Installs what the box lacks (as root; without
# root it names what it skips), starts what the tests need, prints each step, ends with the count. One part:
# PARTS="go web browser" bash deploy/test.sh; PATCHBAY_CI=1 turns every skip for a missing tool into a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
began=$SECONDS parts=${PARTS:-tools go web browser ollama} failed=() passed_steps=0
log=$(mktemp -d)
[ "${CI:-}" != true ] || export PATCHBAY_CI=1 # a tool that is missing there is a hole in install below
trap 'cleanup' EXIT
cleanup() { [ -n "${pg:-}" ] && kill -INT "$pg" 2>/dev/null && wait "$pg" 2>/dev/null; rm -rf "$log"; }
say() { printf '\n[%3d min %02d s] %s\n' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$*"; }
step() { # name, command ...
  local name=$1; shift
  say "$name"
  if "$@"; then passed_steps=$((passed_steps + 1)); else failed+=("$name"); echo "FAILED: $name"; fi
}
has() { [[ " $parts " == *" $1 "* ]]; }

install() {
  local missing=() pair
  for pair in git:git gcc:gcc g++:g++ chromium:chromium sipp:sip-tester baresip:baresip-core dovecot:dovecot-imapd /usr/sbin/postfix:postfix swaks:swaks sox:sox flite:flite espeak-ng:espeak-ng turnutils_uclient:coturn kamailio:kamailio jq:jq curl:curl \
    pip3:python3-pip /usr/include/nlohmann/json.hpp:nlohmann-json3-dev /usr/include/stb/stb_image.h:libstb-dev; do
    local what=${pair%%:*} package=${pair##*:}
    if [[ $what == /* ]]; then [ -e "$what" ] || missing+=("$package"); else PATH=$PATH:/usr/sbin command -v "$what" >/dev/null || missing+=("$package"); fi
  done
  compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
  [ ${#missing[@]} = 0 ] && { echo "nothing missing"; return 0; }
  echo "missing: ${missing[*]}"
  if [ "$(id -u)" != 0 ]; then echo "no root: tests that need them are skipped by name (sudo apt-get install ${missing[*]})"; return 0; fi
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  export DEBIAN_FRONTEND=noninteractive
  local policy=/usr/sbin/policy-rc.d code # of what is installed no daemon is started: Kamailio and coturn would take our ports
  if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; fi
  apt-get update -qq >"$log/apt" 2>&1 && apt-get install -y -qq --no-install-recommends "${missing[@]}" >>"$log/apt" 2>&1
  code=$?
  [ -z "$policy" ] || rm -f $policy
  [ $code = 0 ] || tail -n 20 "$log/apt"
  return $code
}

gofmt_clean() { local dirty; dirty=$(gofmt -l $(git ls-files '*.go')); [ -z "$dirty" ] || { echo "gofmt these: $dirty"; return 1; }; }
generated() { # generated files are what the spec says
  local before after
  before=$(cat server/api/api.gen.go webui/src/shared/api.gen.ts | sha256sum)
  bash deploy/tools/generate.sh && (cd webui && npm run --silent generate >/dev/null) || return 1
  after=$(cat server/api/api.gen.go webui/src/shared/api.gen.ts | sha256sum)
  [ "$before" = "$after" ] || { echo "server/api/openapi.yaml and the generated files differ: run deploy/tools and npm run generate, and commit"; git --no-pager diff --stat; return 1; }
}
runner=$log/bin/gotestsum
need_runner() { [ -x "$runner" ] || GOBIN=$log/bin go install gotest.tools/gotestsum@v1.13.0; }
# A test that fails beside the others runs again alone, twice at most, and the end says so: telephones are compared by ear here, and a
# machine that others use too drops sound. A data race or a panic is never run again.
go_tests() { # each package starts its own Postgres
  need_runner || return 1
  local rest code=0
  # The calls are compared by ear with telephones that run beside them: they get the machine for themselves.
  rest=$(go list ./... | grep -v '/channels/voice$' | tr '\n' ' ')
  for packages in "$rest" ./channels/voice; do
    "$runner" --format pkgname-and-test-fails --hide-summary=skipped --jsonfile-timing-events "$log/go.$((++runs)).json" --packages="$packages" --rerun-fails=2 --rerun-fails-max-failures=15 \
      --rerun-fails-run-root-test --rerun-fails-abort-on-data-race --rerun-fails-report "$log/again.$runs" -- -race -shuffle=on -timeout 20m || code=1
  done
  echo "skipped: $(last skip | sort | uniq | tr '\n' ' ')"
  sed 's/^/RUN AGAIN: /' "$log"/again.* 2>/dev/null
  return $code
}
runs=0
last() { jq -rn --arg a "$1" '[inputs | select(.Test)] | group_by(.Package + " " + .Test)[] | last | select(.Action == $a) | .Test' "$log"/go.*.json 2>/dev/null; }
count() { last "$1" | wc -l; }

if has tools; then step "installing what this box lacks" install; fi
if has web || has browser || has go; then
  step "web: dependencies (npm ci)" bash -c 'cd webui && npm ci --silent --no-audit --no-fund'
  step "web: build" bash -c 'cd webui && npm run --silent build'
fi
peers=${XDG_CACHE_HOME:-$HOME/.cache}/patchbay/test-peers # programs on the other end of the line that Debian does not have
pjsip() { # its Python module: a telephone with two lines and a transfer from one to the other
  export PATCHBAY_TEST_PJSUA=$peers/pjsua2-python-2.15.1.post1
  [ -d "$PATCHBAY_TEST_PJSUA/pjsua2" ] || pip3 install -q --no-deps --target "$PATCHBAY_TEST_PJSUA" pjsua2-python==2.15.1.post1 2>&1
}
s3() { # an object store
  local dir=$peers/s3rver-3.7.1
  export PATCHBAY_TEST_S3RVER=$dir/node_modules/.bin/s3rver
  [ -x "$PATCHBAY_TEST_S3RVER" ] || { mkdir -p "$dir" && npm install --silent --no-audit --no-fund --prefix "$dir" s3rver@3.7.1; }
}
if has go || has browser; then
  step "a telephone of pjsip's" pjsip
  step "an object store" s3
fi
if has go; then
  step "speech: models (150 MB, once)" bash deploy/models.sh speech
  step "go: format" gofmt_clean
  step "go: vet" go vet ./...
  step "generated code is the spec's" generated
  step "go: a binary without cgo (CGO_ENABLED=0)" env CGO_ENABLED=0 go build -o "$log/server" ./server
  step "go: tests, race detector, shuffled" go_tests
fi
if has web; then
  step "web: types" bash -c 'cd webui && npm run --silent check'
  step "web: unit tests" bash -c 'cd webui && npm run --silent test'
  step "web: sizes" bash -c 'cd webui && npm run --silent size'
fi
if has browser; then
  step "browser: the widget on strict pages" bash -c 'cd webui && { npm run --silent browser || { echo "RUN AGAIN: the widget on strict pages"; npm run --silent browser; }; }'
  step "the test runner" need_runner
  step "browser: Chromium as visitor and agent, phones on the line" env GOTESTSUM="$runner" bash deploy/browser-test.sh
fi
if has ollama; then step "the real Ollama" bash deploy/ollama-test.sh; fi

say "done"
for f in "${failed[@]+"${failed[@]}"}"; do echo "FAILED: $f"; done
if has go; then echo "go: $(count pass) tests passed, $(count fail) failed, $(count skip) skipped"; fi
printf '%d passed, %d failed\n' $((passed_steps + $(has go && count pass || echo 0))) $((${#failed[@]} + $(has go && count fail || echo 0)))
[ ${#failed[@]} = 0 ]
