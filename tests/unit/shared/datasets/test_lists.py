"""VOC's lists: parts of a data set, named by their path."""

import pytest

from legodnn.shared.datasets.opening import labels_in, open_dataset
from legodnn.shared.errors import DataError

pytest.importorskip("PIL.Image")

from tests.unit.shared.datasets.data_sets import mask, picture, spec, voc

BOXES, MASKS = "object detection", "semantic segmentation"
LABELS = ("background", "cat", "dog")


@pytest.fixture
def data(tmp_path):
    """Four images with boxes, three of them with masks, and one of a class that networks here do not know."""
    for name, kind in (("a", "cat"), ("b", "dog"), ("c", "cat"), ("d", "yak")):
        picture(tmp_path / "JPEGImages" / f"{name}.png", (10, 20))
        voc(tmp_path, [(kind, (1, 1, 5, 10), 0)], filename=f"{name}.png", name=f"{name}.xml")
    for name in "abc":
        mask(tmp_path / "SegmentationClass" / f"{name}.png", [[1] * 10] * 20)
    return tmp_path


def written(folder, content):
    path = folder / "ImageSets" / "Main" / "train.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def opened(task, path):
    dataset = open_dataset(task, path, spec(1, 3, 20, 10, labels=LABELS))
    return [e.name for e in dataset.examples], {s.name: s.reason for s in dataset.skipped}


def test_a_list_says_which_images_in_its_order(data, monkeypatch):
    path = written(data, "c\na\n")
    assert opened(BOXES, path) == opened(MASKS, path) == (["c.png", "a.png"], {})
    dataset = open_dataset(BOXES, path, spec(1, 3, 20, 10, labels=LABELS))
    assert dataset.examples[0].load().truths[0][0].labels.tolist() == [1]
    monkeypatch.chdir(data / "ImageSets")
    assert opened(MASKS, "Main/train.txt") == (["c.png", "a.png"], {})


def test_other_images_of_the_data_set_do_not_matter_but_its_labels_do(data):
    path = written(data, "a")
    assert opened(BOXES, path)[0] == ["a.png"]
    with pytest.raises(DataError, match="class 'yak' is none of"):
        opened(BOXES, str(data))
    assert labels_in(BOXES, path) == labels_in(BOXES, str(data)) == ("background", "cat", "dog", "yak")
    assert labels_in(MASKS, path) == ()


def test_byte_order_marks_blank_lines_spaces_and_line_ends_of_other_systems_do_no_harm(data):
    path = written(data, b"\xef\xbb\xbfa\r\n\r\n  b \r\n\n")
    assert opened(BOXES, path) == opened(MASKS, path) == (["a.png", "b.png"], {})


def test_names_that_lead_nowhere_are_left_out_by_name(data):
    (data / "JPEGImages" / "c.png").unlink()
    path = written(data, "a\ngone\nc\n../a\n/etc/passwd\na\0b\n" + "x" * 5000 + "\na\n")
    names, skipped = opened(BOXES, path)
    assert names == ["a.png"]
    assert "no such file" in skipped["gone.xml"]
    assert "no such file" in skipped["c.xml"]
    assert "leads out of the data's folder" in skipped["../a.xml"]
    assert "leads out of the data's folder" in skipped["/etc/passwd.xml"]
    assert "is no file's name" in skipped["a\0b.xml"]
    assert skipped["a"] == "listed more than once; taken once"
    assert len(skipped) == 7
    names, skipped = opened(MASKS, path)
    assert names == ["a.png"]
    assert skipped["gone"] == skipped["c"] == skipped["../a"] == "no image in JPEGImages/"
    assert opened(MASKS, written(data, "a\nd"))[1] == {"d": "no mask in SegmentationClass/"}


@pytest.mark.parametrize("task", [BOXES, MASKS])
@pytest.mark.parametrize(("content", "reason"), [
    ("", "no names of images in it"), ("\n \n", "no names of images in it"), (b"\xff\xfe\x00a", "not readable as text"),
    ("gone", "none of 1 annotations can be used|no image in JPEGImages"),
    ("a  1\nb -1\n", "none of 2 annotations can be used|no image in JPEGImages"),
])  # fmt: skip
def test_a_list_that_is_none_is_refused_in_one_line(data, task, content, reason):
    with pytest.raises(DataError, match=reason) as refusal:
        opened(task, written(data, content))
    assert "\n" not in str(refusal.value)
    assert "train.txt" in str(refusal.value)


@pytest.mark.parametrize("task", [BOXES, MASKS])
def test_a_list_outside_of_any_data_set_is_refused(tmp_path, task):
    with pytest.raises(DataError, match=r"train.txt: a list of images, but there is no JPEGImages/"):
        opened(task, written(tmp_path, "a"))
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match=r"no (boxes|masks) found"):
        opened(task, written(tmp_path, "a"))
