"""The zoo: documented shapes, images that do not see each other, published sizes, and recipes that lead to networks."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder.graph.values import tensors_in
from legodnn.builder.recipe.load import builtin_recipes, load_recipe
from legodnn.builder.recipe.resolve import build_manager, build_model
from legodnn.builder.zoo.action import networks as video
from legodnn.builder.zoo.anomaly import networks as anomaly
from legodnn.builder.zoo.classification import (
    cbam,
    inception_v3,
    mobilenet_v2_cifar,
    residual_attention,
    resnet_cifar,
    resnext_cifar,
    senet_cifar,
    vgg_cifar,
    wide_resnet,
)
from legodnn.builder.zoo.common import resnet
from legodnn.builder.zoo.detection import yolov3
from legodnn.builder.zoo.pose import networks as pose
from legodnn.builder.zoo.segmentation import networks as segmentation
from tests.networks import images, randomised

SMALL = {
    "resnet18": (lambda: resnet_cifar.resnet18(4, 7), (3, 32, 32), [(7,)]),
    "vgg11": (lambda: vgg_cifar.vgg11(4, 7), (3, 32, 32), [(7,)]),
    "vgg13": (lambda: vgg_cifar.vgg13(4, 7), (3, 32, 32), [(7,)]),
    "vgg16": (lambda: vgg_cifar.vgg16(4, 7), (3, 32, 32), [(7,)]),
    "vgg19": (lambda: vgg_cifar.vgg19(4, 7), (3, 32, 32), [(7,)]),
    "mobilenet_v2": (lambda: mobilenet_v2_cifar.mobilenet_v2(0.25, 7), (3, 32, 32), [(7,)]),
    "resnext29": (lambda: resnext_cifar.resnext29(2, 4, 4, 7), (3, 32, 32), [(7,)]),
    "wide_resnet": (lambda: wide_resnet.wide_resnet(10, 1, 7), (3, 32, 32), [(7,)]),
    "se_resnet18": (lambda: senet_cifar.se_resnet18(4, 7), (3, 32, 32), [(7,)]),
    "cbam_resnet18": (lambda: cbam.cbam_resnet18(4, 7), (3, 32, 32), [(7,)]),
    "attention56": (lambda: residual_attention.attention56(4, 7), (3, 32, 32), [(7,)]),
    "inception_v3": (lambda: inception_v3.inception_v3(1, 7), (3, 32, 32), [(7,)]),
    "inception_v3 of its own size": (lambda: inception_v3.inception_v3(1, 7, small=False), (3, 299, 299), [(7,)]),
    "yolov3": (lambda: yolov3.yolov3(0.125, 2), (3, 64, 64), [(21, 2, 2), (21, 4, 4), (21, 8, 8)]),
    "fcn": (lambda: segmentation.fcn_resnet18(4, 5), (3, 50, 70), [(5, 50, 70)]),
    "deeplabv3": (lambda: segmentation.deeplabv3_resnet18(4, 5), (3, 50, 70), [(5, 50, 70)]),
    "ganomaly": (lambda: anomaly.ganomaly(16, 4, 6), (3, 16, 16), [(1,)]),
    "ordinal_regression": (lambda: anomaly.ordinal_regression(4), (3, 64, 64), [(1,)]),
    "deeppose": (lambda: pose.deeppose_resnet18(4, 6), (3, 64, 96), [(6, 2)]),
    "simple_baseline": (lambda: pose.simple_baseline_resnet18(4, 6), (3, 64, 96), [(6, 16, 24)]),
    "tsn": (lambda: video.tsn_resnet18(4, 3, 5), (3, 3, 64, 64), [(5,)]),
    "trn": (lambda: video.trn_resnet18(4, 4, 5, 8), (4, 3, 64, 64), [(5,)]),
}
"""How each network is made small, the shape of one input, and the shapes of what comes out for it."""

MILLIONS = {
    "VGG-16": (lambda: vgg_cifar.vgg16(), 14.7),
    "MobileNetV2": (lambda: mobilenet_v2_cifar.mobilenet_v2(classes=1000), 3.5),
    "ResNeXt-29 8x64d": (lambda: resnext_cifar.resnext29(), 34.4),
    "ResNeXt-29 16x64d": (lambda: resnext_cifar.resnext29(16), 68.1),
    "WRN-28-10": (lambda: wide_resnet.wide_resnet(), 36.5),
    "WRN-40-4": (lambda: wide_resnet.wide_resnet(40, 4), 8.9),
    "SE-ResNet-18": (lambda: senet_cifar.se_resnet18(), 11.27),
    "Attention-56": (lambda: residual_attention.attention56(classes=1000), 31.9),
    "Inception v3": (lambda: inception_v3.inception_v3(classes=1000, small=False), 23.8),
    "YOLOv3": (lambda: yolov3.yolov3(), 61.9),
    "ResNet-18 without its classifier": (lambda: resnet.ResNet18Backbone(), 11.18),
    "SimpleBaseline": (lambda: pose.simple_baseline_resnet18(), 15.4),
}
"""Published numbers of parameters."""


def parts(output):
    return output if isinstance(output, tuple) else (output,)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_are_as_documented_and_images_do_not_see_each_other(name):
    make, shape, expected = SMALL[name]
    torch.manual_seed(0)
    model = randomised(make())
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = parts(model(x))
        alone = [parts(model(row)) for row in x.split(1)]
    assert [tuple(t.shape) for t in together] == [(3, *s) for s in expected]
    for i, rows in enumerate(zip(*alone, strict=True)):
        assert all(row.shape == (1, *expected[i]) for row in rows)
        torch.testing.assert_close(together[i], torch.cat(rows), rtol=1e-4, atol=1e-5)
        assert together[i].isfinite().all()
        assert not torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("name", MILLIONS)
def test_the_full_networks_are_as_large_as_published(name):
    make, millions = MILLIONS[name]
    with torch.device("meta"):
        count = sum(p.numel() for p in make().parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.03)


def test_darknet_53_has_52_convolutions_before_its_classifier():
    with torch.device("meta"):
        assert sum(isinstance(m, nn.Conv2d) for m in yolov3.DarkNet53().modules()) == 52


@pytest.mark.parametrize("dilated", [1, 2, 3])
def test_a_dilated_trunk_computes_what_the_plain_one_does_and_more_between(dilated):
    torch.manual_seed(0)
    plain, dense = randomised(resnet.ResNet18Backbone(4)), resnet.ResNet18Backbone(4, dilated).eval()
    dense.load_state_dict(plain.state_dict())
    with torch.no_grad():
        found, expected = dense(images(2, 64)), plain(images(2, 64))
    assert found.shape[2:] == (2 << dilated, 2 << dilated)
    step = 1 << dilated
    torch.testing.assert_close(found[:, :, ::step, ::step], expected, rtol=1e-4, atol=1e-5)


def test_a_mask_of_one_half_gives_one_and_a_half_times_the_trunk():
    torch.manual_seed(0)
    attention = residual_attention.Attention(8, 2).eval()
    nn.init.zeros_(attention.mask[4].weight)
    nn.init.zeros_(attention.mask[4].bias)
    x = torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        expected = attention.last(1.5 * attention.trunk(attention.first(x)))
        torch.testing.assert_close(attention(x), expected)


def test_ganomaly_scores_the_distance_of_its_two_codes_and_has_a_discriminator():
    torch.manual_seed(0)
    model, x = randomised(anomaly.ganomaly(16, 4, 6)), images(2, 16)
    with torch.no_grad():
        again, code, second = model.reconstruct(x)
        logits, features = anomaly.Discriminator(16, 4).eval()(again)
        scores = model(x)
    assert again.shape == x.shape
    assert code.shape == second.shape == (2, 6, 1, 1)
    assert float(again.abs().max()) <= 1
    torch.testing.assert_close(scores[1, 0], ((code[1] - second[1]) ** 2).mean())
    assert logits.shape == (2, 1)
    assert features.shape == (2, 8, 4, 4)


def test_relations_are_ordered_tuples_of_every_length_up_to_all_frames():
    relations = video.Relations(segments=5, features=4, classes=3)
    assert [len(chosen[0]) for chosen in relations.chosen] == [2, 3, 4, 5]
    assert [len(chosen) for chosen in relations.chosen] == [3, 3, 3, 1]
    for chosen in relations.chosen:
        assert len(set(chosen)) == len(chosen)
        assert all(list(frames) == sorted(set(frames)) for frames in chosen)


def test_order_matters_to_trn_and_not_to_tsn():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 3, 64, 64)
    tsn, trn = randomised(video.tsn_resnet18(4, 3, 5)), randomised(video.trn_resnet18(4, 3, 5, 8))
    with torch.no_grad():
        torch.testing.assert_close(tsn(x), tsn(x.flip(1)), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(trn(x), trn(x.flip(1)), rtol=1e-3)


@pytest.mark.parametrize("call", [lambda: wide_resnet.wide_resnet(29), lambda: anomaly.ganomaly(24)])
def test_sizes_that_do_not_exist_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_lead_to_networks_that_run(name):
    recipe = load_recipe(name)
    detects = recipe.manager.factory.endswith(":DetectionManager")  # and what it finds depends on real numbers
    with torch.device("cpu" if detects else "meta"), torch.no_grad():
        network = build_manager(recipe).network_to_cut(build_model(recipe), recipe.model.input)
        outputs = tensors_in(network(torch.zeros(recipe.model.input)))
    assert all(output.shape[0] == recipe.model.input[0] for output in outputs)


@pytest.mark.parametrize(("name", "task"), [
    ("fcn_resnet18", "semantic segmentation"), ("deeplabv3_resnet18", "semantic segmentation"),
    ("deeppose_resnet18", "pose estimation"), ("simple_baseline_resnet18", "pose estimation"),
    ("tsn_resnet18", "action recognition"), ("trn_resnet18", "action recognition"),
    ("ganomaly", "anomaly detection"), ("yolov3", "object detection"), ("resnet18", "image classification"),
])  # fmt: skip
def test_built_in_recipes_have_the_manager_of_their_application(name, task):
    assert build_manager(load_recipe(name)).task == task
