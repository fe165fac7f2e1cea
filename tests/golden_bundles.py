"""Small bundles of every application, kept so that later versions prove that they still open them.

    python -m tests.golden_bundles

writes those of the format that this checkout writes into ``tests/golden/bundles/MAJOR.MINOR/``; it needs Fashion-MNIST
(`FASHION_MNIST` names its folder) and takes some minutes. Bundles of earlier formats are never made anew. The teachers
are far too small and learn far too little to be of use; image classification's is the exception, since the README runs
it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from legodnn.shared.bundle.format import MAJOR, MINOR

FOLDER = Path(__file__).parent / "golden" / "bundles"

SMALL = (
    "teacher.epochs=2",
    "data.train.kwargs.count=512",
    "data.test.kwargs.count=128",
    "distill.epochs=1",
    "distill.closed_form_images=64",
    "blocks.sparsity=[0.0, 0.6]",
    "profile.compositions=3",
    "bundle.samples=1",
)

APPLICATIONS: dict[str, tuple[str, ...]] = {
    "image-classification": (
        "model.kwargs.width=8",
        "blocks.sparsity=[0.0, 0.5, 0.8]",
        "blocks.max_ratio=0.25",
        "profile.compositions=8",
        "bundle.samples=6",
    ),
    "semantic-segmentation": (*SMALL, "model.kwargs.width=4", "teacher.train.kwargs.precision=fp32"),
    "object-detection": (*SMALL, "model.kwargs.width=4"),
    "pose-estimation": (*SMALL, "model.kwargs.width=4", "bundle.precision=fp16"),
    "action-recognition": (*SMALL, "model.kwargs.width=4"),
    "anomaly-detection": (*SMALL, "model.kwargs.width=4", "model.kwargs.code=32"),
}
"""Recipes, and what is set in each."""


def build(name: str, folder: Path) -> Path:
    """Build one of `APPLICATIONS` into a folder. Raises `CalledProcessError` where that fails."""
    out = folder / f"{name}.lgb"
    settings = [part for setting in APPLICATIONS[name] for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / out.name
        command = [sys.executable, "-m", "legodnn.builder", name, "-o", str(made), "--no-timing", *settings]
        subprocess.run(command, check=True)
        out.write_bytes(made.read_bytes())
    return out


def main() -> None:
    """Write all of them."""
    folder = FOLDER / f"{MAJOR}.{MINOR}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in APPLICATIONS:
        print(f"{build(name, folder)}: {(folder / name).with_suffix('.lgb').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
