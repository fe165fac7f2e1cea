#!/usr/bin/env bash
# Each half with the oldest torch it is made for: its tests, in an environment of its own.
#
#   bash packaging/lowest_versions.sh runtime [PYTEST ARGUMENT...]    torch 1.13.1, without torchvision
#   bash packaging/lowest_versions.sh builder [PYTEST ARGUMENT...]    torch 2.1.0 and torchvision 0.16.0
#
# LEGODNN_LOWEST_ENV names the environment's directory (default: .lowest-runtime, .lowest-builder). Needs Python 3.10 or
# 3.11.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/environment.sh

half=${1:-}
case $half in
    runtime) extras="[test]" tests=(tests/unit/runtime tests/unit/shared) ;;
    builder) extras="[builder,test]" tests=(tests/unit/builder tests/unit/shared) ;;
    *) die "say which half: runtime or builder" ;;
esac
shift
environment=${LEGODNN_LOWEST_ENV:-.lowest-$half}
export PIP_CONSTRAINT=$PWD/packaging/lowest_$half.txt
make_environment "$environment" "$extras"

say "the $half's tests with $(head -n 1 "$PIP_CONSTRAINT")"
"$environment/bin/python" -m pytest -m "not slow" "${tests[@]}" "$@"
