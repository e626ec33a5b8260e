#!/bin/sh
# Writes server/api/api.gen.go from server/api/openapi.yaml. test.sh runs it and fails on a difference.
set -eu
cd "$(dirname "$0")"
exec go tool oapi-codegen -config oapi-codegen.yaml ../../server/api/openapi.yaml
