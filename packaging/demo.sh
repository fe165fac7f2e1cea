#!/usr/bin/env bash
# The whole job on real images: train a small teacher, build a bundle, run it under budgets, end with a table.
#
#   bash packaging/demo.sh
#
# LEGODNN_DEMO names the directory for everything the demo makes (default: .demo). FASHION_MNIST names a folder with
# the four IDX files of Fashion-MNIST; without it Debian's package dataset-fashion-mnist is used, and installed if need
# be. A second run uses what the first one made.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/environment.sh

demo=${LEGODNN_DEMO:-.demo}
mkdir -p "$demo"
make_environment "$demo/environment" "[builder]"
bin="$demo/environment/bin"

if [ -z "${FASHION_MNIST:-}" ]; then
    export FASHION_MNIST=/usr/share/datasets/fashion-mnist
    [ -d "$FASHION_MNIST" ] || { say "installing the data set"; install_packages dataset-fashion-mnist; }
fi
[ -d "$FASHION_MNIST" ] || die "$FASHION_MNIST: no such folder; FASHION_MNIST must name one with IDX files"

say "legodnn-build: a teacher, a ResNet-18 for small images, and from it a bundle"
"$bin/legodnn-build" image-classification -o "$demo/fashion.lgb"

say "legodnn-run: achievable on this machine"
"$bin/legodnn-run" "$demo/fashion.lgb" --frames 3

say "legodnn-run under budgets, on test images no stage has seen"
"$bin/python" packaging/demo_table.py "$demo/fashion.lgb" "$bin/legodnn-run" "$demo/unseen.raw"
