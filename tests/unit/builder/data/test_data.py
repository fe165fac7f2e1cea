"""Checked loaders, and Fashion-MNIST from IDX files."""

import gzip
import re
import struct

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.zoo.common import fashion_mnist
from legodnn.shared.errors import DataError

SHAPE = (1, 3, 8, 8)


def images(count=4, shape=SHAPE[1:]):
    return torch.zeros(count, *shape)


def labels(count=4):
    return torch.zeros(count, dtype=torch.int64)


def refused(batches, pairs=True):
    with pytest.raises(DataError) as caught:
        list(CheckedLoader(batches, SHAPE, "data.train", pairs=pairs))
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("data.train: ")
    return text


def test_good_batches_pass_unchanged_and_any_number_of_times():
    loader = DataLoader(TensorDataset(images(10), labels(10)), batch_size=4)
    checked = CheckedLoader(loader, SHAPE, "data.train", pairs=True)
    for _ in range(2):
        assert [len(batch[0]) for batch in checked] == [4, 4, 2]
    assert len(checked) == 3


def test_batches_are_counted_where_a_loader_does_not_know():
    class Stream:
        def __iter__(self):
            return iter([(images(), labels())] * 5)

    assert len(CheckedLoader(Stream(), SHAPE, "data.train")) == 5


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (images(), "a pair (inputs, labels) expected, not Tensor"),
        (None, "a pair (inputs, labels) expected, not NoneType"),
        ((images(),), "a pair (inputs, labels) expected, not tuple of 1"),
        (("a", labels()), "inputs as a tensor, not str"),
        ((images().double(), labels()), "inputs are torch.float64, the network takes torch.float32"),
        ((images(shape=(1, 8, 8)), labels()), "shape (4, 1, 8, 8), the recipe says (n, 3, 8, 8)"),
        ((images()[0], labels()), "shape (3, 8, 8)"),
        ((images(0), labels(0)), "empty"),
        ((images() + float("nan"), labels()), "not finite"),
        ((images() / 0, labels()), "not finite"),
        ((images(), labels(3)), "4 inputs but 3 labels"),
        ((images(), labels().float()), "whole numbers, one per input, not torch.float32 (4)"),
        ((images(), torch.zeros(4, 10).long()), "not torch.int64 (4, 10)"),
        ((images(), [0, 0, 0, 0]), "not list"),
    ],
)
def test_batches_no_classifier_can_take(batch, text):
    assert text in refused([(images(), labels()), batch])
    assert "batch 1" in refused([(images(), labels()), batch])


def test_other_managers_may_have_other_batches():
    batches = [{"image": images()}, (images(), ["any", "thing", "at", "all"]), [images()]]
    assert list(CheckedLoader(batches, SHAPE, "data.train")) == batches
    assert "inputs are torch.int64" in refused([(images().long(), {})], pairs=False)


def test_every_input_of_a_network_of_several_is_looked_at():
    good, short, wrong = (images(), images(), labels()), (images(),), (images(), images(4, (3, 9, 8)))
    assert list(CheckedLoader([good], SHAPE, "data.train", inputs=2)) == [good]
    for batch, text in ((short, "1 items, but the network takes 2 inputs"), (wrong, "(4, 3, 9, 8)")):
        with pytest.raises(DataError, match=re.escape(text)):
            list(CheckedLoader([batch], SHAPE, "data.train", inputs=2))


def test_a_loader_that_yields_nothing():
    assert refused([]) == "data.train: the loader yields no batches"


class Broken(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 2:
            raise FileNotFoundError("picture 2 is gone")
        return images(1)[0], 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_fails_halfway_is_named_with_the_reason(workers):
    text = refused(DataLoader(Broken(), num_workers=workers))
    assert text.startswith("data.train: failed at batch 2: FileNotFoundError: picture 2 is gone")
    assert workers or re.search(r" \(test_data\.py, line \d+\)$", text)


def test_reading_may_stop_early():
    batches = iter(CheckedLoader([(images(), labels())] * 3, SHAPE, "data.train"))
    next(batches)
    batches.close()


# ---- Fashion-MNIST --------------------------------------------------------------------------------------------------
def idx(array):
    header = bytes([0, 0, 8, array.dim()]) + struct.pack(f">{array.dim()}I", *array.shape)
    return header + bytes(array.flatten().tolist())


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    pixels = torch.randint(0, 256, (6, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(torch.arange(6, dtype=torch.uint8)))
    return tmp_path


def test_compressed_and_plain_files_are_read(mnist):
    x, y = fashion_mnist.images("train", 1, 5)
    assert (x.shape, x.dtype, y.tolist()) == ((4, 3, 32, 32), torch.float32, [1, 2, 3, 4])
    assert torch.equal(x[:, 0], x[:, 2])
    darkest, brightest = -fashion_mnist.MEAN / fashion_mnist.STD, (1 - fashion_mnist.MEAN) / fashion_mnist.STD
    assert darkest - 1e-6 <= x.min() < x.max() <= brightest + 1e-6


def test_the_train_loader_shuffles_and_the_test_loader_does_not(mnist):
    torch.manual_seed(0)
    assert torch.cat([y for _, y in fashion_mnist.train_loader(6, 2)]).tolist() != [0, 1, 2, 3, 4, 5]
    assert torch.cat([y for _, y in fashion_mnist.test_loader(2, 6, 3)]).tolist() == [2, 3, 4, 5]


NAME = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read, or cut off"),
        (lambda path: path.write_bytes(b"no gzip"), "cannot be read, or cut off"),
        (lambda path: path.write_bytes(gzip.compress(b"\0\0\x0d\x01\0\0\0\x01x")), "not an IDX file of bytes"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "not an IDX file of bytes"),
        (lambda path: path.write_bytes(gzip.compress(idx(torch.arange(6)))), "1 dimensions where 3 are expected"),
        (lambda path: path.write_bytes(gzip.compress(b"\0\0\x08\x03\0\0")), "cut off"),
        (lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1])), "cut off"),
    ],
)
def test_damaged_files_are_refused_with_their_name(mnist, damage, text):
    damage(mnist / NAME)
    with pytest.raises(DataError, match=text) as caught:
        fashion_mnist.images("train", 0, 4)
    assert str(mnist / NAME) in str(caught.value)


def test_images_and_labels_that_do_not_belong_together(mnist):
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(torch.arange(5, dtype=torch.uint8)))
    with pytest.raises(DataError, match="6 train images but 5 labels"):
        fashion_mnist.images("train", 0, 4)


@pytest.mark.parametrize(("first", "last"), [(0, 7), (6, 6), (4, 2), (-1, 3)])
def test_images_that_are_not_there(mnist, first, last):
    with pytest.raises(DataError, match="there are 6"):
        fashion_mnist.images("test", first, last)
