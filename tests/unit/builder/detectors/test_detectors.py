"""The plain detectors do what torchvision's do."""

import io
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
from torchvision import ops
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from legodnn.builder import CommonModelManager
from legodnn.builder.detectors import plain_detector
from legodnn.builder.detectors.boxes import kept
from legodnn.builder.detectors.regions import RegionAlign
from legodnn.builder.graph.tracing.opaque import Opaque
from legodnn.shared.errors import ModelError

# Small counts for speed, and thresholds high enough that some images fill them and some do not.
RCNN = {
    "rpn_post_nms_top_n_test": 60,
    "rpn_score_thresh": 0.8,
    "rpn_nms_thresh": 0.3,
    "box_detections_per_img": 20,
    "box_score_thresh": 0.3,
}
DENSE = {"score_thresh": 0.95, "topk_candidates": 50, "detections_per_img": 60}
# In some images the sides are no multiples of the strides, so that the levels' shapes are rounded.
DETECTORS = {
    "fasterrcnn_resnet50_fpn": ((120, 168), RCNN),
    "fasterrcnn_resnet50_fpn_v2": ((128, 160), RCNN),
    "fasterrcnn_mobilenet_v3_large_fpn": ((120, 168), RCNN),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ((128, 160), RCNN),
    "maskrcnn_resnet50_fpn": ((128, 160), RCNN),
    "maskrcnn_resnet50_fpn_v2": ((128, 160), RCNN),
    "keypointrcnn_resnet50_fpn": ((128, 160), {**RCNN, "box_score_thresh": 0.15}),
    "retinanet_resnet50_fpn": ((120, 168), DENSE),
    "retinanet_resnet50_fpn_v2": ((128, 160), DENSE),
    "fcos_resnet50_fpn": ((120, 168), {**DENSE, "score_thresh": 0.5}),
    "ssd300_vgg16": ((300, 300), {"score_thresh": 0.8}),
    "ssdlite320_mobilenet_v3_large": ((120, 168), {"score_thresh": 0.8}),
}


class NoTransform(nn.Module):
    """Images go in as they are and boxes come out as they are."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack(images), [tuple(image.shape[1:]) for image in images]), targets

    def postprocess(self, result, image_shapes, original_image_sizes):
        return result


def spread(network, images):
    """Scale each layer so that what it makes of the images has standard deviation 1: all its scores differ then."""

    def hook(layer, inputs, output):
        scale = 1 / output.std().clamp(min=1e-6)
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.zero_()
        handles.pop(layer).remove()
        return output * scale

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    handles = {m: m.register_forward_hook(hook) for m in network.modules() if isinstance(m, kinds)}
    network(images)


def pair(name, size, options):
    torch.manual_seed(0)
    classes = 2 if "keypoint" in name else 5
    detector = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes, **options).eval()
    detector.transform = NoTransform().eval()
    plain = plain_detector(detector, *size)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        spread(plain, images)
        return SimpleNamespace(plain=plain, images=images, found=plain(images), expected=detector(list(images)))


@pytest.fixture(scope="module", params=DETECTORS)
def made(request):
    return pair(request.param, *DETECTORS[request.param])


def assert_same(found, expected):
    """Detections of ``found`` are the ``expected`` ones of torchvision, and zeros after them."""
    for i, image in enumerate(expected):
        count = len(image["boxes"])
        assert count > 2
        for name, value in image.items():
            ours = found[name.replace("keypoints_scores", "keypoint_scores")][i]
            torch.testing.assert_close(ours[:count], value, rtol=0, atol=1e-3 if name == "boxes" else 1e-4)
            assert not ours[count:].any()


def test_detections_are_torchvisions(made):
    assert_same(made.found, made.expected)


def test_a_manager_cuts_a_detector_as_plain_operators_and_leaves_it_as_it_was():
    detector = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).train()
    plain = CommonModelManager().network_to_cut(detector, (1, 3, 96, 128))
    assert detector.training
    assert not plain.training
    assert plain(torch.randn(1, 3, 96, 128))["boxes"].shape == (1, 300, 4)


def test_a_batch_is_its_images(made):
    with torch.no_grad():
        singles = [made.plain(image[None]) for image in made.images]
    for name, value in made.found.items():
        # Convolutions round differently in batches of another size.
        torch.testing.assert_close(value, torch.cat([single[name] for single in singles]), rtol=1e-4, atol=1e-3)


def test_opaque_modules_script_save_and_load(made):
    calls = {}
    opaque = {name: m for name, m in made.plain.named_modules() if isinstance(m, Opaque)}
    handles = [m.register_forward_hook(lambda m, i, o: calls.update({m: (i, o)})) for m in opaque.values()]
    with torch.no_grad():
        made.plain(made.images)
    for handle in handles:
        handle.remove()
    for module in opaque.values():
        inputs, output = calls[module]
        stream = io.BytesIO()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(module), stream)
            loaded = torch.jit.load(io.BytesIO(stream.getvalue()))
            assert "torchvision" not in str(loaded.inlined_graph)
            for _ in range(3):  # the compiler rewrites the program in its first runs
                torch.testing.assert_close(loaded(*inputs), output)


def test_images_without_objects(made):
    """A proposal or detection that is padding stays one."""
    with torch.no_grad():
        found = made.plain(torch.full_like(made.images, float("nan")))
    for value in found.values():
        assert not value.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_detections_are_torchvisions_at_the_usual_counts(name):
    made = pair(name, (320, 416) if name != "ssd300_vgg16" else (300, 300), {})
    assert_same(made.found, made.expected)


def test_other_networks_are_refused():
    with pytest.raises(ModelError, match="Linear is none of torchvision's detectors"):
        plain_detector(nn.Linear(1, 1), 32, 32)


def test_roi_align_without_fixed_samples_is_refused():
    detector = detection.fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None, num_classes=2)
    detector.roi_heads.box_roi_pool.sampling_ratio = -1
    with pytest.raises(ModelError, match="sampling_ratio"):
        plain_detector(detector, 64, 64)


def random_boxes(count, side, generator):
    corners = torch.rand(count, 2, generator=generator) * side
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * side / 3], 1)


@pytest.mark.parametrize("count", [0, 1, 2, 70, 900, 1100, 4000])
@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.5])
@pytest.mark.parametrize("ties", [False, True])
def test_nms_is_torchvisions(count, threshold, ties):
    generator = torch.Generator().manual_seed(count)
    boxes, scores = random_boxes(count, 200, generator), torch.rand(count, generator=generator)
    groups = torch.randint(0, 4, (count,), generator=generator)
    if ties:  # few values: equal scores, equal boxes, overlaps of exactly the threshold
        boxes, scores = (boxes / 16).round(), (scores * 16).round()
    expected = ops.batched_nms(boxes, scores, groups, threshold)
    ours = kept(boxes, scores, groups, threshold, count)
    if ties and count > 1000:  # there torchvision leaves the order of equal scores open
        assert torch.equal(scores[ours], scores[expected])
        ours, expected = ours.sort().values, expected.sort().values
    else:
        assert kept(boxes, scores, groups, threshold, 20).tolist() == expected[:20].tolist()
    assert ours.tolist() == expected.tolist()


def test_nms_of_a_chain():
    """Each box overlaps the next alone, so every second one stays, however far that takes."""
    starts = torch.arange(300.0)
    boxes = torch.stack([starts, torch.zeros(300), starts + 1.8, torch.ones(300)], 1)
    groups = torch.zeros(300, dtype=torch.int64)
    assert kept(boxes, -starts, groups, 0.2, 300).tolist() == list(range(0, 300, 2))


@pytest.mark.parametrize(("cells", "samples"), [((7, 7), 2), ((14, 14), 2), ((3, 5), 1)])
def test_roi_align_is_torchvisions(cells, samples):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 20, 31, generator=generator)
    boxes = random_boxes(60, 300, generator).reshape(2, 30, 4) - 60
    boxes[0, 0], boxes[0, 1] = 0, torch.tensor([-500.0, -500, -400, -400])
    expected = ops.roi_align(features, list(boxes), cells, 0.125, samples)
    align = RegionAlign([(20, 31)], 160, cells, samples)
    torch.testing.assert_close(align([features], boxes), expected, rtol=1e-5, atol=1e-5)


def test_roi_align_takes_the_level_torchvision_does():
    generator = torch.Generator().manual_seed(0)
    shapes = [(100, 130), (50, 65), (25, 33), (13, 17)]
    features = {str(i): torch.randn(2, 4, *shape, generator=generator) for i, shape in enumerate(shapes)}
    boxes = random_boxes(200, 400, generator) * torch.rand(200, 1, generator=generator) * 3
    boxes = boxes.clamp(max=400).reshape(2, 100, 4)
    boxes[0, 0], boxes[0, 1] = torch.tensor([0.0, 0, 112, 112]), torch.tensor([0.0, 0, 224, 224])
    pool = ops.MultiScaleRoIAlign(list(features), 7, 2)
    expected = pool(features, list(boxes), [(400, 520)] * 2)
    align = RegionAlign(shapes, 400, (7, 7), 2)
    torch.testing.assert_close(align(list(features.values()), boxes), expected, rtol=1e-5, atol=1e-5)
