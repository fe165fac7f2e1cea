"""Masks, boxes and keypoints: scaled with their image, and never believed where they cannot be right."""

import json
import struct
import zlib

import pytest
import torch

from legodnn.shared.datasets.opening import labels_in, open_dataset
from legodnn.shared.datasets.regions import polygon_mask, region_mask
from legodnn.shared.errors import DataError, InputError

Image = pytest.importorskip("PIL.Image")

from tests.unit.shared.datasets.data_sets import BLUE, close, coco, mask, only, picture, spec, voc  # noqa: E402  (needs Pillow)

MASKS, BOXES, POSES = "semantic segmentation", "object detection", "pose estimation"
CATS = ("background", "dog", "cat")


def boxes_of(path, shape=(1, 3, 40, 40), labels=CATS):
    loaded = only(open_dataset(BOXES, path, spec(*shape, labels=labels)))
    return loaded.truths[0][0], loaded.remarks


# ---- regions ------------------------------------------------------------------------------------------------------
def test_a_polygon_holds_the_pixels_whose_middle_is_inside():
    assert polygon_mask([1, 0, 3, 0, 3, 2, 1, 2], 3, 4).int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert polygon_mask([0, 0, 4.1, 0, 0, 4.1], 4, 4).int().tolist() == [
        [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0],
    ]  # fmt: skip
    assert polygon_mask([-9, -9, 99, -9, 99, 99, -9, 99], 3, 4).all()
    assert not polygon_mask([9, 9, 12, 9, 12, 12], 4, 4).any()


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools and numpy among themselves
def test_regions_are_those_of_the_reference_implementation():
    """Polygons differ at most where their edge runs through a pixel; run lengths do not."""
    np, coco_mask = pytest.importorskip("numpy"), pytest.importorskip("pycocotools.mask")
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        angles = (torch.rand(9, generator=generator) * 6.283).sort()[0]
        radius = 8 + 20 * torch.rand(9, generator=generator)
        corners = torch.stack([32 + radius * angles.cos(), 30 + radius * angles.sin()], 1).flatten().tolist()
        ours = region_mask([corners], 60, 64)
        runs = coco_mask.merge(coco_mask.frPyObjects([corners], 60, 64))
        theirs = torch.from_numpy(coco_mask.decode(runs).astype(bool))
        grown = torch.nn.functional.max_pool2d(ours[None, None].float(), 3, 1, 1)[0, 0] > 0
        shrunk = torch.nn.functional.max_pool2d((~ours)[None, None].float(), 3, 1, 1)[0, 0] == 0
        assert not (theirs & ~grown).any()
        assert not (shrunk & ~theirs).any()
        assert (ours ^ theirs).sum() < 0.08 * ours.sum()
        packed = {"size": [60, 64], "counts": runs["counts"].decode()}
        assert torch.equal(region_mask(packed, 60, 64), theirs)
        column = np.asfortranarray(theirs.numpy()).flatten(order="F").astype(int)
        edges = [0, *(np.flatnonzero(np.diff(np.concatenate([[0], column]))).tolist()), len(column)]
        lengths = np.diff(edges).tolist()
        assert torch.equal(region_mask({"size": [60, 64], "counts": lengths}, 60, 64), theirs)


@pytest.mark.parametrize("segmentation", [
    None, [], "x", [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [[0, 0, 1, 0, float("nan"), 1]], [[0, 0, 1, 0, "1", 1]],
    {"size": [2, 3], "counts": [6]}, {"size": [3, 2], "counts": [7]}, {"size": [3, 2], "counts": [-1, 7]},
    {"size": [3, 2], "counts": None}, {"size": [3, 2], "counts": "\x00"}, {"size": [3, 2], "counts": "o" * 20},
    {"size": [3, 2], "counts": "P"}, {"size": [3, 2], "counts": [10**18, 6 - 10**18]},
])  # fmt: skip
def test_regions_that_are_none_are_refused(segmentation):
    with pytest.raises(InputError):
        region_mask(segmentation, 3, 2)


# ---- masks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("folders", [("images", "masks"), ("JPEGImages", "SegmentationClass")])
def test_masks_are_numbers_and_palettes_are_indices(tmp_path, mode, folders):
    picture(tmp_path / folders[0] / "x.jpg", (2, 2))
    mask(tmp_path / folders[1] / "x.png", [[0, 2], [255, 1]], mode)
    loaded = only(open_dataset(MASKS, str(tmp_path), spec(1, 3, 4, 2, labels=CATS)))
    assert loaded.truths[0].tolist() == [[[0, 2], [0, 2], [255, 1], [255, 1]]]
    assert loaded.truths[0].dtype == torch.int64
    assert loaded.inputs.shape == (1, 3, 4, 2)


def two_bit_png(byte):
    """Four gray pixels of two bits each."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes([0, byte]))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_masks_of_few_bits_keep_their_numbers(tmp_path):
    """Gray of one, two or four bits would come out stretched to 255: class 1 as what is ignored."""
    picture(tmp_path / "images" / "x.png", (4, 1))
    (tmp_path / "masks").mkdir()
    image = Image.new("1", (4, 1))
    image.putdata([0, 1, 0, 1])
    image.save(tmp_path / "masks" / "x.png")
    assert only(open_dataset(MASKS, str(tmp_path), spec(1, 3, 1, 4))).truths[0].tolist() == [[[0, 1, 0, 1]]]
    (tmp_path / "masks" / "x.png").write_bytes(two_bit_png(0b11100100))
    assert only(open_dataset(MASKS, str(tmp_path), spec(1, 3, 1, 4))).truths[0].tolist() == [[[3, 2, 1, 0]]]
    image = Image.new("P", (4, 1))
    image.putdata([3, 2, 1, 0])
    image.putpalette([0, 0, 0, 9, 9, 9, 80, 80, 80, 200, 0, 0])
    image.save(tmp_path / "masks" / "x.png", bits=2)
    assert only(open_dataset(MASKS, str(tmp_path), spec(1, 3, 1, 4))).truths[0].tolist() == [[[3, 2, 1, 0]]]


def test_masks_without_image_or_of_another_size_are_left_out(tmp_path):
    for name in ("whole", "alone", "small", "colour"):
        picture(tmp_path / "images" / f"{name}.png", (2, 2))
    for name, rows in (("whole", [[0, 1]] * 2), ("other", [[0, 1]] * 2), ("small", [[0, 1]])):
        mask(tmp_path / "masks" / f"{name}.png", rows)
    picture(tmp_path / "masks" / "colour.png", (2, 2))
    dataset = open_dataset(MASKS, str(tmp_path), spec(labels=CATS))
    assert {(s.name, s.reason) for s in dataset.skipped} == {
        ("other.png", "no image in images/"), ("alone.png", "no mask in masks/"),
    }  # fmt: skip
    colour, small, whole = dataset.examples
    with pytest.raises(InputError, match="its pixels are colours"):
        colour.load()
    with pytest.raises(InputError, match=r"small.png: 2x1, its image is 2x2"):
        small.load()
    assert whole.load().truths[0].unique().tolist() == [0, 1]


def test_a_class_the_network_does_not_know_refuses_the_whole_data_set(tmp_path):
    picture(tmp_path / "images" / "x.png", (2, 1))
    mask(tmp_path / "masks" / "x.png", [[0, 3]])
    with pytest.raises(DataError, match=r"x.png: class 3, but the network's labels are for 0 to 2"):
        only(open_dataset(MASKS, str(tmp_path), spec(labels=CATS)))


def test_jpeg_masks_are_refused(tmp_path):
    picture(tmp_path / "images" / "x.png", (2, 1))
    picture(tmp_path / "masks" / "x.jpg", (2, 1), 3, "L")
    with pytest.raises(InputError, match="a JPEG file; only a PNG keeps"):
        only(open_dataset(MASKS, str(tmp_path), spec(labels=CATS)))


def test_regions_become_masks_and_where_classes_meet_nothing_is_said(tmp_path):
    runs = {"size": [20, 10], "counts": [180, 20]}
    path = coco(tmp_path, [
        {"segmentation": [[0, 0, 4, 0, 4, 20, 0, 20]]},
        {"segmentation": [[2, 0, 6, 0, 6, 20, 2, 20]], "category_id": 9},
        {"segmentation": runs, "category_id": 9, "iscrowd": 1},
    ])  # fmt: skip
    row = only(open_dataset(MASKS, path, spec(1, 3, 20, 10, labels=CATS))).truths[0][0, 5].tolist()
    assert row == [2, 2, 255, 255, 1, 1, 0, 0, 0, 1]
    assert labels_in(MASKS, path) == ("background", "cat", "dog")


def test_an_image_with_a_region_that_is_none_is_left_out(tmp_path):
    path = coco(tmp_path, [{"segmentation": [[1, 2]]}])
    with pytest.raises(InputError, match=r"a.png: annotation 0: a polygon"):
        only(open_dataset(MASKS, path, spec(labels=CATS)))


# ---- boxes --------------------------------------------------------------------------------------------------------
def test_boxes_are_scaled_with_their_image(tmp_path):
    path = coco(tmp_path, [{"bbox": [1, 2, 4, 8]}, {"bbox": [0, 0, 10, 20], "category_id": 9, "iscrowd": 1}])
    for place in (path, f"{path}/annotations.json"):
        found, remarks = boxes_of(place)
        assert close(found.boxes, [[4, 4, 20, 20], [0, 0, 40, 40]])
        assert found.boxes.dtype == torch.float32
        assert found.labels.tolist() == [2, 1]
        assert found.crowd.tolist() == [False, True]
        assert remarks == ()


def test_boxes_are_cut_off_and_those_outside_left_out(tmp_path):
    outside = [[-9, 0, 5, 5], [10, 0, 5, 5], [0, 20, 1, 1], [5, 5, -3, 2], [5, 5, 0, 2]]
    path = coco(tmp_path, [{"bbox": [-5, -5, 10, 10]}, *({"bbox": box} for box in outside), {"bbox": [5, 10, 99, 99]}])
    found, remarks = boxes_of(path)
    assert close(found.boxes, [[0, 0, 20, 10], [20, 20, 40, 40]])
    assert len(remarks) == len(outside)
    assert remarks[0] == "annotation 1: no part of its box is in the picture; left out"


@pytest.mark.parametrize("box", [
    None, [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, float("nan")], [1, 2, 3, True], [1, 2, 3, 10**400],
])  # fmt: skip
def test_an_image_with_a_box_that_is_none_is_left_out(tmp_path, box):
    """Without it, an object that is found would count as wrong."""
    with pytest.raises(InputError, match="annotation 0: bbox is no list of 4 numbers"):
        boxes_of(coco(tmp_path, [{"bbox": box}]))


def test_an_image_without_objects_counts(tmp_path):
    found, _ = boxes_of(coco(tmp_path, []))
    assert found.boxes.shape == (0, 4)
    assert found.labels.shape == found.crowd.shape == (0,)


def test_an_image_of_another_size_than_annotated_is_left_out(tmp_path):
    images = [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}]
    with pytest.raises(InputError, match=r"a.png: 10x20, its annotations are for 20x10"):
        boxes_of(coco(tmp_path, [], images))


def test_images_that_are_missing_or_elsewhere_are_left_out_by_name(tmp_path):
    picture(tmp_path / "secret.png")
    images = [{"id": i, "file_name": name} for i, name in enumerate(["none.png", "a.png", "../../secret.png", None])]
    path = coco(tmp_path / "data", [{"bbox": [0, 0, 1, 1], "image_id": 9}], images)
    dataset = open_dataset(BOXES, path, spec(labels=CATS))
    assert [e.name for e in dataset.examples] == ["a.png"]
    reasons = {s.name: s.reason for s in dataset.skipped}
    assert reasons["image 0"].endswith("none.png: no such file")
    assert reasons["image 2"] == "'../../secret.png' leads out of the data's folder"
    assert reasons["image 3"] == "None is no file's name"
    assert reasons["annotation 0"] == "there is no image 9"


@pytest.mark.parametrize(("content", "reason"), [
    ("", "not readable as JSON"), ("{", "not readable as JSON"), ("\xff", "not readable as JSON"),
    ("[" * 100_000, "not readable as JSON"), ("[]", "an object expected, not a list"), ("{}", "no list 'categories'"),
    ('{"categories": [], "images": [1], "annotations": []}', "an item of 'images' has no id"),
    ('{"categories": [], "images": [{"id": [1]}], "annotations": []}', "an item of 'images' has no id"),
    ('{"categories": [], "images": [], "annotations": []}', "it lists no images"),
    ('{"categories": [], "images": [{"id": 1}, {"id": 1}], "annotations": []}', "two images have the id 1"),
    ('{"categories": [], "images": [{"id": 1, "file_name": "q.png"}], "annotations": []}', "its images are not found"),
    ('{"categories": [], "images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1, "category_id": {}}]}',
     "category {}, which has no name"),
])  # fmt: skip
def test_json_that_is_no_coco_is_refused_in_one_line(tmp_path, content, reason):
    (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
    for task in (BOXES, MASKS, POSES):
        with pytest.raises(DataError, match=reason) as refusal:
            open_dataset(task, str(tmp_path), spec(labels=CATS))
        assert "\n" not in str(refusal.value)
        assert "x.json" in str(refusal.value)


def test_categories_that_nothing_is_of_may_be_unknown_to_the_network(tmp_path):
    path = coco(tmp_path, [{"bbox": [0, 0, 5, 5]}])
    assert boxes_of(path, labels=("background", "cat"))[0].labels.tolist() == [1]
    with pytest.raises(DataError, match="class 'cat' is none of the network's labels \\(dog\\)"):
        boxes_of(path, labels=("background", "dog"))
    assert labels_in(BOXES, path) == ("background", "cat", "dog")


def test_the_images_of_coco_s_own_layout_are_found(tmp_path):
    coco(tmp_path, [])
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations.json").rename(tmp_path / "annotations" / "instances_val2017.json")
    (tmp_path / "images").rename(tmp_path / "val2017")
    assert boxes_of(str(tmp_path))[0].labels.tolist() == []
    (tmp_path / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(DataError, match=r"2 JSON files .*; name one of them"):
        boxes_of(str(tmp_path))
    assert boxes_of(str(tmp_path / "annotations" / "instances_val2017.json"))[0].labels.tolist() == []


def test_voc_counts_pixels_from_one_and_difficult_objects_neither_for_nor_against(tmp_path):
    path = voc(tmp_path, [("cat", (1, 1, 5, 10), 0), ("dog", (3, 5, 10, 20), 1), ("dog", (30, 1, 40, 9), 0)])
    found, remarks = boxes_of(path, (1, 3, 20, 10))
    assert found.boxes.tolist() == [[0, 0, 5, 10], [2, 4, 10, 20]]
    assert found.labels.tolist() == [2, 1]
    assert found.crowd.tolist() == [False, True]
    assert remarks == ("object 2: no part of its box is in the picture; left out",)
    assert labels_in(BOXES, path) == ("background", "cat", "dog")
    with pytest.raises(DataError, match="class 'dog' is none of"):
        boxes_of(path, labels=("background", "cat"))


@pytest.mark.parametrize(("xml", "reason"), [
    ("", "not readable as XML"), ("<a>", "not readable as XML"), ("<a/>", "<annotation> expected, not <a>"),
    ("<annotation/>", "None is no file's name"),
    ("<annotation><filename>../../x.png</filename></annotation>", "leads out of the data's folder"),
    ("<annotation><filename>q.png</filename></annotation>", "no such file"),
    ("<annotation><filename>a.png</filename><object/></annotation>", "an object without a name"),
    ("<annotation><filename>a.png</filename><object><name>cat</name></object></annotation>", "xmin of an object"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declares a document type"),
    ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "not readable as XML"),
])  # fmt: skip
def test_broken_xml_is_left_out_by_name(tmp_path, xml, reason):
    path = voc(tmp_path, [])
    (tmp_path / "Annotations" / "b.xml").write_text(xml)
    dataset = open_dataset(BOXES, path, spec(labels=CATS))
    assert [s.name for s in dataset.skipped] == ["b.xml"]
    assert reason in dataset.skipped[0].reason
    (tmp_path / "Annotations" / "a.xml").unlink()
    with pytest.raises(DataError, match="none of 1 annotations can be used, the first"):
        open_dataset(BOXES, path, spec(labels=CATS))


def test_a_folder_that_holds_nothing_of_the_kind_says_what_is_expected(tmp_path):
    for task, expected in ((BOXES, "a COCO JSON file, or JPEGImages/"), (MASKS, "images/ and masks/"), (POSES, "COCO")):
        with pytest.raises(DataError, match=expected):
            open_dataset(task, str(tmp_path), spec(labels=CATS))


# ---- poses --------------------------------------------------------------------------------------------------------
POINTS = [{"id": 7, "name": "coat", "keypoints": ["neck", "hem"]}]


def pose_of(path, shape=(1, 3, 20, 20), labels=("neck", "hem")):
    return only(open_dataset(POSES, path, spec(*shape, labels=labels)))


def test_a_pose_is_cropped_to_its_box_and_measured_in_its_longer_side(tmp_path):
    path = coco(tmp_path, [{"bbox": [2, 4, 5, 5], "keypoints": [2, 4, 2, 7, 9, 1]}], categories=POINTS)
    loaded = pose_of(path)
    keypoints, size = loaded.truths
    assert keypoints.tolist() == [[[0, 0, 2], [20, 20, 1]]]
    assert size.tolist() == [20]
    assert keypoints.dtype == size.dtype == torch.float32
    assert labels_in(POSES, path) == ("neck", "hem")


def test_nothing_is_distorted_by_the_crop(tmp_path):
    """A box twice as high as wide is seen with what is beside it; what is outside the picture is black."""
    path = coco(tmp_path, [{"bbox": [0, 2, 5, 10], "keypoints": [0, 2, 2, 5, 12, 2]}], categories=POINTS)
    loaded = pose_of(path)
    keypoints, size = loaded.truths
    assert close(keypoints[0, :, :2], [[4, 0], [14, 20]])
    assert size.tolist() == [20]
    assert loaded.inputs[0, 0, 10, :3].tolist() == [0, 0, 0]
    assert close(loaded.inputs[0, 0, 10, 6:], [1.0] * 14)


def test_a_pose_may_say_itself_what_it_is_measured_in(tmp_path):
    row = {"bbox": [2, 4, 5, 5], "keypoints": [2, 4, 2, 7, 9, 1]}
    (tmp_path / "good").mkdir()
    assert pose_of(coco(tmp_path / "good", [{**row, "size": 2.5}], categories=POINTS)).truths[1].tolist() == [10]
    for number, size in enumerate((0, -1, "5", None, float("inf"))):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InputError, match="annotation 0: size is no number above 0"):
            pose_of(coco(tmp_path / str(number), [{**row, "size": size}], categories=POINTS))


def test_poses_with_nothing_to_judge_are_left_out_by_name(tmp_path):
    good = {"bbox": [2, 4, 5, 5], "keypoints": [2, 4, 2, 7, 9, 0]}
    path = coco(tmp_path, [
        good, {**good, "keypoints": [2, 4, 0, 7, 9, 0]}, {**good, "iscrowd": 1}, {**good, "keypoints": [1, 2]},
        {**good, "bbox": [50, 50, 5, 5]}, {**good, "keypoints": [99, 4, 2, 0, 0, 0]}, {**good, "bbox": [1, 2, 0, 0]},
    ], categories=POINTS)  # fmt: skip
    dataset = open_dataset(POSES, path, spec(labels=("neck", "hem")))
    assert [s.reason for s in dataset.skipped] == [
        "none of its keypoints is visible", "it stands for a crowd",
        "annotation 3: keypoints is no list of 6 numbers",
    ]  # fmt: skip
    assert dataset.skipped[0].name == "a.png, annotation 1"
    first, *rest = dataset.examples
    assert first.load().truths[0][0, :, 2].tolist() == [2, 0]
    reasons = ["no part of its box", "none of its visible keypoints is in the picture", "no part of its box"]
    for example, reason in zip(rest, reasons, strict=True):
        with pytest.raises(InputError, match=reason):
            example.load()


def test_keypoints_outside_the_picture_are_invisible(tmp_path):
    path = coco(tmp_path, [{"bbox": [2, 4, 5, 5], "keypoints": [-1, 4, 2, 7, 9, 2]}], categories=POINTS)
    loaded = pose_of(path)
    assert loaded.truths[0][0, :, 2].tolist() == [0, 2]
    assert loaded.remarks == ("1 keypoints outside the picture, taken for invisible",)


def test_keypoints_that_are_others_than_the_networks_are_refused(tmp_path):
    path = coco(tmp_path, [{"bbox": [2, 4, 5, 5], "keypoints": [2, 4, 2, 7, 9, 2]}], categories=POINTS)
    with pytest.raises(DataError, match="keypoints neck, hem; the network's are hem, neck"):
        pose_of(path, labels=("hem", "neck"))
    hidden = coco(tmp_path, [{"bbox": [2, 4, 5, 5], "keypoints": [2, 4, 0, 7, 9, 0]}], categories=POINTS)
    with pytest.raises(DataError, match="none of 1 poses can be used, the first: none of its keypoints is visible"):
        pose_of(hidden)


def test_keypoints_without_names_are_counted(tmp_path):
    path = coco(tmp_path, [{"bbox": [2, 4, 5, 5], "keypoints": [2, 4, 2, 7, 9, 2]}])
    assert pose_of(path, labels=()).truths[0].shape == (1, 2, 3)
    assert labels_in(POSES, path) == ()
    with pytest.raises(DataError, match="not plain how many"):
        pose_of(coco(tmp_path, []), labels=())


def test_a_picture_of_one_pixel_is_a_picture(tmp_path):
    path = coco(tmp_path, [{"bbox": [0, 0, 1, 1]}], [{"id": 1, "file_name": "p.png"}])
    picture(tmp_path / "images" / "p.png", (1, 1), BLUE)
    loaded = only(open_dataset(BOXES, path, spec(labels=CATS)))
    assert loaded.truths[0][0].boxes.tolist() == [[0, 0, 8, 8]]
    assert close(loaded.inputs[0, 2], [[1.0] * 8] * 8)


def test_content_is_read_as_it_was_written(tmp_path):
    """No example is opened before it is asked for, so a large data set opens at once."""
    path = coco(tmp_path, [])
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    dataset = open_dataset(BOXES, path, spec(labels=CATS))
    with pytest.raises(InputError, match="not readable as an image"):
        only(dataset)
    assert json.loads((tmp_path / "annotations.json").read_text())["annotations"] == []
