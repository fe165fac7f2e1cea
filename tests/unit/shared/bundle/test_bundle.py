"""The bundle's format: golden bytes, round trips, and a refusal for everything that is not whole."""

import dataclasses
import hashlib
import io
import os
import struct
import warnings
import zipfile

import pytest
import torch
import torch.nn as nn
from hypothesis import given
from hypothesis import strategies as st

from legodnn.shared.bundle.archive import join_archive, pack_program, split_archive, unpack_program
from legodnn.shared.bundle.blobs import BlobStore, compress, decompress, join_planes, split_planes
from legodnn.shared.bundle.encoding import decode, encode
from legodnn.shared.bundle.format import HEADER, MAGIC, MAJOR, MINOR
from legodnn.shared.bundle.manifest import DTYPES, BlobEntry, StorageSpec
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import decode_storages, encode_storages, tensor_from_bytes, tensor_to_bytes
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.errors import BundleError, BundleVersionError
from tests import bundles

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "small.lgb"
    bundles.write(path)
    return path


def rewritten(path, target, change, minor=MINOR):
    """A bundle with a changed manifest and a header that matches it."""
    data = path.read_bytes()
    length = HEADER.unpack(data[: HEADER.size])[3]
    start = HEADER.size + 32
    plain = decode(data[start : start + length], "manifest")
    change(plain)
    text = encode(plain)
    header = HEADER.pack(MAGIC, MAJOR, minor, len(text))
    target.write_bytes(header + hashlib.sha256(header + text).digest() + text + data[start + length :])
    return target


# ---- the format ---------------------------------------------------------------------------------------------------
def test_golden_header(whole):
    data = whole.read_bytes()
    assert data[:12] == b"\x89LGB\r\n\x1a\n\x01\x00\x02\x00"
    length = struct.unpack("<Q", data[12:20])[0]
    assert data[20:52] == hashlib.sha256(data[:20] + data[52 : 52 + length]).digest()


def test_golden_manifest_bytes():
    golden = bytes.fromhex("82a16182a178c40100a179c0a1629201cb4004000000000000")
    assert encode({"b": [1, 2.5], "a": {"y": None, "x": b"\0"}}) == golden


def test_the_same_content_gives_the_same_bytes(tmp_path, whole):
    bundles.write(tmp_path / "again.lgb")
    assert (tmp_path / "again.lgb").read_bytes() == whole.read_bytes()


def test_opening_reads_no_blob(whole, monkeypatch):
    monkeypatch.setattr(BundleReader, "_chunks", None)
    with BundleReader(whole) as reader:
        assert len(reader.manifest.blocks) == bundles.BLOCKS


def test_an_archive_comes_back_and_computes_the_same(whole):
    maker = bundles.BundleMaker()
    x = torch.randn(2, 8, 16, 16)
    with BundleReader(whole) as reader:
        for variant in reader.manifest.segment("block1").variants:
            loaded = torch.jit.load(io.BytesIO(reader.archive(variant.archive, (2, 0))))
            with torch.no_grad():
                assert torch.allclose(loaded(x), maker.modules["block1"][variant.name](x), atol=1e-6)


# ---- refusals -----------------------------------------------------------------------------------------------------
def test_every_truncation_is_refused(whole, tmp_path):
    data = whole.read_bytes()
    target = tmp_path / "cut.lgb"
    lengths = {*range(0, 60), *range(60, len(data), 97), len(data) - 1}
    for length in sorted(lengths):
        target.write_bytes(data[:length])
        with pytest.raises(BundleError):
            BundleReader(target)


def test_a_change_of_any_byte_is_refused(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    target = tmp_path / "changed.lgb"
    places = {*range(0, 200), *range(200, len(data), max(1, len(data) // 600)), len(data) - 1}
    for place in sorted(places):
        data[place] ^= 0x55
        target.write_bytes(data)
        with pytest.raises(BundleError), BundleReader(target) as reader:
            reader.verify()
        data[place] ^= 0x55


def test_trailing_bytes_are_refused(whole, tmp_path):
    (tmp_path / "long.lgb").write_bytes(whole.read_bytes() + b"x")
    with pytest.raises(BundleError, match="cut off or added to"):
        BundleReader(tmp_path / "long.lgb")


def test_an_unknown_major_version_is_refused_with_both_numbers(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    data[8] = 7
    (tmp_path / "new.lgb").write_bytes(data)
    with pytest.raises(BundleVersionError, match=rf"7\.{MINOR}.*1\.x"):
        BundleReader(tmp_path / "new.lgb")


def test_a_newer_minor_version_with_unknown_fields_is_read(whole, tmp_path):
    path = rewritten(whole, tmp_path / "minor.lgb", lambda plain: plain.update(invented_later=1))
    BundleReader(path).close()


def test_a_huge_declared_manifest_is_refused_before_it_is_read(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    data[12:20] = struct.pack("<Q", 1 << 60)
    (tmp_path / "huge.lgb").write_bytes(data)
    with pytest.raises(BundleError, match="more than the"):
        BundleReader(tmp_path / "huge.lgb")


def _overlap(plain):
    plain["blobs"][1]["offset"] -= 1


def _hole(plain):
    plain["blobs"][1]["offset"] += 1


def _bomb(plain):
    plain["blobs"][plain["segments"][0]["variants"][0]["archive"]["tensors"]]["raw_length"] = 1 << 40


def _unused(plain):
    plain["self_test"]["cases"] = []


def _backwards(plain):
    plain["segments"].reverse()


def _twice(plain):
    plain["segments"][1]["name"] = plain["segments"][2]["name"]


def _missing(plain):
    del plain["predictor"]


def _mistyped(plain):
    plain["segments"][1]["variants"][0]["flops"] = "many"


def _not_finite(plain):
    plain["predictor"]["mean_error"] = float("inf")


def _falling(plain):
    plain["predictor"]["curve"] = [[0.0, 0.2], [0.1, 0.1]]


def _codec(plain):
    plain["blobs"][0]["codec"] = "lzma"


def _negative(plain):
    plain["blobs"][0]["offset"] = -1


def _beyond(plain):
    plain["segments"][0]["variants"][0]["archive"]["program"] = 10_000


def _storage(plain):
    plain["segments"][0]["variants"][0]["archive"]["storages"][0]["count"] += 1


def _dtype(plain):
    plain["segments"][0]["variants"][0]["archive"]["storages"][0]["dtype"] = "complex64"


def _selection(plain):
    plain["self_test"]["cases"][0]["selection"]["block0"] = "sparsity=0.99"


def test_a_newer_minor_version_that_cannot_be_read_says_so(whole, tmp_path):
    path = rewritten(whole, tmp_path / "minor.lgb", _unused, minor=MINOR + 1)
    with pytest.raises(BundleVersionError, match=rf"version {MAJOR}\.{MINOR + 1}, .*nothing uses.*; update it"):
        BundleReader(path)


@pytest.mark.parametrize(("change", "reason"), [
    (_overlap, "blob 1 begins"), (_hole, "blob 1 begins"), (_bomb, "its tables say"), (_unused, "nothing uses"),
    (_backwards, "before anything makes it"), (_twice, "same name"), (_missing, "'predictor' is missing"),
    (_mistyped, r"segments\[1\].variants\[0\].flops: a whole number"), (_not_finite, "a finite number"),
    (_falling, "the curve falls"), (_codec, "codec 'lzma'"), (_negative, "negative size"), (_beyond, "do not exist"),
    (_storage, "its tables say"), (_dtype, "dtype not known"), (_selection, "self-test"),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_refused(whole, tmp_path, change, reason):
    with pytest.raises(BundleError, match=reason):
        BundleReader(rewritten(whole, tmp_path / "bad.lgb", change))


def test_a_blob_that_unpacks_to_another_size_is_refused():
    packed = compress(b"a" * 1000)
    assert decompress([packed], 1000) == decompress([packed[:7], packed[7:]], 1000) == b"a" * 1000
    for size in (0, 999, 1001):
        with pytest.raises(BundleError):
            decompress([packed], size)
    for wrong in ([packed + packed], [packed, packed], [packed[:-1]], [], [b"nothing of the sort"]):
        with pytest.raises(BundleError):
            decompress(wrong, 1000)


@pytest.mark.parametrize("data", [b"\x81\xa1a", b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\xc1", b"\x01\x01"])
def test_msgpack_that_is_cut_repeated_or_not_text_keyed_is_refused(data):
    with pytest.raises(BundleError):
        decode(data, "test")


@pytest.mark.parametrize("path", ["../evil.py", "/etc/passwd", "data/0", "a b"])
def test_programs_with_harmful_paths_are_refused(path):
    with pytest.raises(BundleError):
        unpack_program(encode({path: b""}))


# ---- round trips --------------------------------------------------------------------------------------------------
@given(PLAIN)
def test_encoding_round_trip(plain):
    assert decode(encode(plain), "test") == plain


@given(st.binary(max_size=200), st.sampled_from([1, 2, 4, 8]))
def test_planes_round_trip(data, size):
    data = data[: len(data) // size * size]
    assert join_planes(split_planes(data, size), size) == data


@given(st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), st.binary(max_size=40)), max_size=6))
def test_storages_round_trip(parts):
    specs, storages = [], {}
    for i, (dtype, data) in enumerate(parts):
        count = len(data) // DTYPES[dtype]
        specs.append(StorageSpec(f"data/{i}", dtype, count, dtype))
        storages[f"data/{i}"] = data[: count * DTYPES[dtype]]
    assert decode_storages(encode_storages(storages, specs), specs) == storages


def test_half_precision_storages_come_back_as_single():
    values = torch.randn(100)
    spec = StorageSpec("data/0", "float32", 100, "float16")
    packed = encode_storages({"data/0": tensor_to_bytes(values)}, [spec])
    assert len(packed) == 200
    back = tensor_from_bytes(decode_storages(packed, [spec])["data/0"], (100,), "float32")
    assert torch.equal(back, values.half().float())


def test_planes_make_weights_smaller():
    data = tensor_to_bytes(torch.randn(20_000))
    planes = len(compress(split_planes(data, 4)))
    assert planes < 0.9 * len(data)
    assert planes < 0.97 * len(compress(data))


def test_the_same_blob_is_stored_once():
    store = BlobStore()
    assert [store.add(b"x" * 100), store.add(b"y"), store.add(b"x" * 100)] == [0, 1, 0]
    assert [e.offset for e in store.entries()] == [0, len(store.packed[0].data)]


def test_writing_refuses_a_manifest_that_does_not_match_its_blobs(tmp_path):
    maker = bundles.BundleMaker()
    manifest = maker.manifest()
    maker.blobs.add(b"nobody asked for this")
    with pytest.raises(BundleError, match="nothing uses"):
        write_bundle(tmp_path / "x.lgb", manifest, maker.blobs)
    assert os.listdir(tmp_path) == []


# ---- archives -----------------------------------------------------------------------------------------------------
class Constants(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.register_buffer("shift", torch.arange(4.0).reshape(1, 4, 1, 1))

    def forward(self, x):
        return self.linear((self.conv(x) + self.shift + torch.tensor([1.5])).mean((2, 3)))


@pytest.mark.parametrize("version", [(2, 9), (1, 13)])
def test_an_archive_taken_apart_and_put_together_computes_the_same(version):
    model, x = Constants().eval(), torch.randn(2, 3, 8, 8)
    program, storages = split_archive(bundles.archive_of(model, x))
    assert sum(len(d) for d in storages.values()) >= sum(4 * p.numel() for p in model.parameters())
    joined = join_archive(unpack_program(pack_program(program)), storages, version)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        assert torch.equal(torch.jit.load(io.BytesIO(joined))(x), model(x))


def test_two_traces_in_one_process_give_the_same_program():
    model, x = Constants().eval(), torch.randn(2, 3, 8, 8)
    first, *others = [split_archive(bundles.archive_of(model, x)) for _ in range(3)]
    assert all(other == first for other in others)


def test_programs_name_no_place_and_no_time():
    program, _ = split_archive(bundles.archive_of(Constants().eval(), torch.randn(1, 3, 8, 8)))
    assert not any(os.getcwd().encode() in content or b".py\"" in content for content in program.values())
    assert not any(path.endswith("debug_pkl") or "serialization_id" in path for path in program)


def test_old_torch_gets_an_old_version_record():
    program, storages = split_archive(bundles.archive_of(Constants().eval(), torch.randn(1, 3, 8, 8)))
    program["version"] = b"10\n"

    def record(torch_version):
        return zipfile.ZipFile(io.BytesIO(join_archive(program, storages, torch_version))).read("segment/version")

    assert record((1, 12)) == b"10\n"
    assert record((1, 11)) == b"3\n"


def test_an_entry_knows_what_it_can_be():
    good = BlobEntry(0, 4, 4, "raw", bytes(32))
    assert BlobEntry.from_plain(good.to_plain()) == good
    with pytest.raises(BundleError, match="two lengths"):
        dataclasses.replace(good, raw_length=5)
