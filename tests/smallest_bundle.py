"""The smallest bundle: one block with its original and nothing else, written by hand, as `FORMAT.md` shows it.

    python -m tests.smallest_bundle

writes ``tests/golden/bundles/smallest.lgb`` and prints what `FORMAT.md` has to show: the table of its parts and its
bytes. The network multiplies two values by two weights. All blobs are stored raw and the program is a literal, so that
the bytes depend on no version of torch or zstd.
"""

from __future__ import annotations

import struct
from pathlib import Path

from legodnn.shared.bundle.archive import pack_program
from legodnn.shared.bundle.blobs import BlobStore, Packed
from legodnn.shared.bundle.format import DIGEST_BYTES, HEADER
from legodnn.shared.bundle.manifest import (
    BLOCK,
    ORIGINAL,
    Archive,
    InputSpec,
    Manifest,
    Predictor,
    Segment,
    SelfTest,
    SelfTestCase,
    StorageSpec,
    TensorSpec,
    Variant,
)
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import encode_storages
from legodnn.shared.bundle.writer import write_bundle

PATH = Path(__file__).parent / "golden" / "bundles" / "smallest.lgb"

PROGRAM = {
    "code/__torch__/program.py": b"""\
class M(Module):
  __parameters__ = ["w", ]
  __buffers__ = []
  w : Tensor
  training : bool
  def forward(self: __torch__.program.M,
    x: Tensor) -> Tensor:
    w = self.w
    return torch.mul(x, w)
""",
    "constants.pkl": b"\x80\x02).",
    "data.pkl": (
        b"\x80\x02c__torch__.program\nM\n)\x81}("
        b"X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00(K\x02t(K\x01t\x89"
        b"ccollections\nOrderedDict\n)RtRX\x08\x00\x00\x00training\x89ub."
    ),
    "version": b"3\n",
}
"""The files of the original's program, as torch writes them, without names that nothing refers to again."""

WEIGHTS, INPUTS = (1.0, 2.0), (3.0, 4.0)
SHAPE = (1, 2)


def floats(*values: float) -> bytes:
    """Values as little-endian float32."""
    return struct.pack(f"<{len(values)}f", *values)


def write(path: Path) -> None:
    """Write the bundle."""
    contents = _contents()
    blobs = BlobStore()
    blobs.packed = [Packed(data, len(data), "raw") for data in contents.values()]
    number = {name: i for i, name in enumerate(contents)}
    tensor = TensorSpec("x", SHAPE, "float32")
    archive = Archive(number["program"], number["tensors"], (_STORAGE,))
    original = Variant(ORIGINAL, 0.0, archive, 8, 8, 2, 2, 0.0, 0.0)
    manifest = Manifest(
        task="",
        metric="",
        created_with={},
        input=InputSpec(SHAPE, "float32", "", None, None, ()),
        network_inputs=("x",),
        network_outputs=("y",),
        segments=(Segment("b", BLOCK, ("x",), ("y",), (original,), ("m",)),),
        predictor=Predictor(1.0, ((0.0, 0.0),), 0.0, 0.0, 0),
        self_test=SelfTest(
            inputs=(number["sample input"],),
            input_spec=tensor,
            labels=(),
            output_specs=(TensorSpec("y", SHAPE, "float32"),),
            cases=(SelfTestCase({"b": ORIGINAL}, (number["expected output"],)),),
            tolerance=1e-4,
        ),
        precision="fp32",
        notes=(),
        blobs=(),
    )
    write_bundle(path, manifest, blobs)


_STORAGE = StorageSpec("data/0", "float32", len(WEIGHTS), "float32")


def _contents() -> dict[str, bytes]:
    """The blobs by what they are, in order."""
    return {
        "program": pack_program(PROGRAM),
        "tensors": encode_storages({_STORAGE.path: floats(*WEIGHTS)}, (_STORAGE,)),
        "sample input": floats(*INPUTS),
        "expected output": floats(*(x * w for x, w in zip(INPUTS, WEIGHTS, strict=True))),
    }


# ---- what FORMAT.md shows -------------------------------------------------------------------------------------------
def dump(data: bytes) -> str:
    """Bytes as ``hexdump -vC`` prints them."""
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        pairs = [f"{byte:02x}" for byte in row]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {' '.join(pairs[:8]):23}  {' '.join(pairs[8:]):23}  |{text}|")
    return "\n".join([*lines, f"{len(data):08x}"])


def parts(path: Path) -> str:
    """A table of the file's parts: offset, size and content of each."""
    with BundleReader(path) as reader:
        rows = [(0, 8, "magic"), (8, 2, "major version"), (10, 2, "minor version"), (12, 8, "length of the manifest")]
        rows.append((HEADER.size, DIGEST_BYTES, "SHA-256 of header and manifest"))
        start = HEADER.size + DIGEST_BYTES
        length = path.stat().st_size - start - sum(entry.length for entry in reader.manifest.blobs)
        rows.append((start, length, "manifest"))
        for number, (entry, name) in enumerate(zip(reader.manifest.blobs, _contents(), strict=True)):
            rows.append((start + length + entry.offset, entry.length, f"blob {number}: {name}"))
    lines = ["| offset | size | content |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {offset:#06x} | {size} | {what} |" for offset, size, what in rows)])


def main() -> None:
    """Write the committed file, and print what the document shows of it."""
    write(PATH)
    print(f"{parts(PATH)}\n\n```\n{dump(PATH.read_bytes())}\n```")


if __name__ == "__main__":
    main()
