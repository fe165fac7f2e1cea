#!/usr/bin/env bash
# Everything a change must pass: environment, install, lint, types, walls between the packages, tests.
#
#   bash packaging/test.sh           lint, types, walls and the fast tests
#   bash packaging/test.sh --slow    the slow tests as well
#
# LEGODNN_TEST_ENV names the environment's directory (default: .test-env).
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/environment.sh

environment=${LEGODNN_TEST_ENV:-.test-env}
make_environment "$environment" "[builder,test]"
bin="$environment/bin"

say "lint"
"$bin/ruff" check .
say "types"
"$bin/mypy" -p legodnn.shared -p legodnn.runtime -p legodnn.builder
say "walls"
"$bin/lint-imports"
say "tests"
marks=(-m "not slow")
[ "${1:-}" = "--slow" ] && marks=(-m "slow or not slow")
"$bin/python" -m pytest "${marks[@]}"
