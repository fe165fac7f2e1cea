#!/usr/bin/env bash
# The runtime with an older torch, one that has XNNPACK: its tests, in an environment without torchvision.
#
#   bash packaging/older_torch.sh [PYTEST ARGUMENT...]
#
# LEGODNN_OLDER_ENV names the environment's directory (default: .older-env). Needs Python 3.10 or 3.11.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/environment.sh

environment=${LEGODNN_OLDER_ENV:-.older-env}
export PIP_CONSTRAINT=$PWD/packaging/older_torch.txt
make_environment "$environment" "[test]"

say "the runtime's tests with torch 2.1"
# What is left out needs the builder.
"$environment/bin/python" -m pytest -m "not slow" tests/unit/runtime tests/unit/shared \
    --ignore tests/unit/runtime/test_cli_render.py "$@"
