"""Networks that decide: variants are compared by what decisions are made from, and learn behind the teacher's."""

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder import AutoBlockManager, BlockProfiler, BlockRetrainer, CommonModelManager, Opaque, pack
from legodnn.builder.distill.paths import TeacherTap, share_missing, walk
from legodnn.builder.graph import values
from legodnn.builder.graph.data_dependence import comparable, is_data_dependent
from legodnn.builder.graph.run import compose
from legodnn.builder.managers import DetectionManager
from legodnn.builder.profile.recording import Recording
from legodnn.runtime import Network
from tests.detection import INPUT, detector, loader, rectangles
from tests.networks import conv, images, randomised


class Strongest(Opaque):
    """One where a feature is the strongest of its place, a hundred times as much as anything else; 0 elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        best = x.argmax(1, keepdim=True)
        return torch.zeros_like(x).scatter(1, best, 100.0)


class Chooser(nn.Module):
    """Features, of which the strongest pass; another two layers behind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 8), conv(8, 16), conv(16, 8)
        self.strongest = Strongest()
        self.c, self.d, self.head = conv(8, 16), conv(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        features = self.b(torch.relu(self.a(torch.relu(self.stem(x)))))
        passed = features * self.strongest(features)
        return self.head(self.d(torch.relu(self.c(passed))).mean((2, 3)))


@pytest.fixture(scope="module")
def chooser():
    torch.manual_seed(0)
    return AutoBlockManager([0.5], randomised(Chooser()), CommonModelManager(), (1, 3, 8, 8), 0.4, round_to=1)


def chooser_batches(count=2):
    return [(images(8, seed=i), torch.arange(8) % 4) for i in range(count)]


def behind_selections(graph):
    """All values that depend on a selection."""
    found = set()
    for node in graph.teacher.graph.nodes:
        if values.is_data_dependent(node) or found.intersection(node.all_input_nodes):
            found.add(node)
    return found


def test_a_data_dependent_selection_is_a_segment_by_itself(chooser):
    row = [segment for segment in chooser.graph.segments if is_data_dependent(segment)]
    assert [[node.name for node in segment.nodes] for segment in row] == [["strongest"]]


def test_only_the_block_before_a_selection_is_compared_by_what_enters_it(chooser):
    first, last = chooser.block_names[0], chooser.block_names[-1]
    [selection] = [segment for segment in chooser.graph.segments if is_data_dependent(segment)]
    assert comparable(chooser.graph, [first]) == list(selection.inputs)
    assert comparable(chooser.graph, [last]) == list(chooser.graph.outputs)


def features_of(blocks, chosen, x):
    """What enters the selection, and what it is."""
    network = compose(blocks.graph, blocks.folded, chosen)
    seen = []
    strongest = next(m for m in network.modules() if isinstance(m, Strongest))
    handle = strongest.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    with torch.no_grad():
        answer = network(x)
    handle.remove()
    return (*seen[0], answer)


def test_a_variant_costs_what_it_changes_before_the_selection_not_behind(chooser):
    block = chooser.block_names[0]
    descendant = chooser.derive(block, "sparsity=0.5").module
    loader = chooser_batches()
    x = torch.cat([batch[0] for batch in loader])
    _, moved = Recording(chooser, CommonModelManager(), loader).evaluate({block: descendant})
    mine, my_choice, answer = features_of(chooser, {block: descendant}, x)
    theirs, choice, wanted = features_of(chooser, {}, x)
    expected = (mine - theirs).square().mean() / theirs.var(correction=0)
    behind = (answer - wanted).square().mean() / wanted.var(correction=0)
    assert not torch.equal(my_choice, choice)
    assert moved == pytest.approx(float(expected), rel=1e-3)
    assert moved != pytest.approx(float(behind), rel=0.2)


def test_paths_have_the_teachers_selections_and_their_own_features(chooser):
    variants = {b: {"sparsity=0.5": chooser.derive(b, "sparsity=0.5").module} for b in chooser.block_names}
    [selection] = [segment for segment in chooser.graph.segments if is_data_dependent(segment)]
    [source], [choice] = selection.inputs, selection.outputs
    seen = []
    passed_by = {}  # values are freed after their last reader

    def visit(segment, batch, name):
        share_missing(batch, segment, name)
        if name in variants[segment.name]:
            path = batch.paths[name]
            passed_by.update(path)
            if source in passed_by and segment.inputs[0] in behind_selections(chooser.graph) and not seen:
                seen.append((passed_by[source], path[segment.inputs[0]]))
            module = variants[segment.name][name]
            path[segment.outputs[0]] = passed_by[segment.outputs[0]] = module(path[segment.inputs[0]])

    tap = TeacherTap(chooser)
    with torch.no_grad():
        for batch in tap.batches(chooser, chooser_batches(1)):
            teacher = dict(batch.teacher)
            walk(chooser, batch, chooser.descendant_names, visit)
        [(features, passed)] = seen
        assert not torch.equal(Strongest()(features), teacher[choice])
        assert torch.equal(passed, features * teacher[choice])


# ---- detectors, the whole way -------------------------------------------------------------------------------------
WHOLE_WAY = ["faster_rcnn", "yolov3", pytest.param("ssdlite", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=WHOLE_WAY)
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    teacher = detector(request.param)
    teacher.train()  # statistics of the data make the scores differ from image to image
    with torch.no_grad():
        for pictures, _ in loader(3):
            (teacher if request.param == "yolov3" else teacher.backbone)(pictures)
        if request.param == "yolov3":  # untrained, it believes in few objects
            for head in (teacher.coarse_head, teacher.middle_head, teacher.fine_head):
                head[-1].bias.zero_()
    blocks = AutoBlockManager([0.5], teacher.eval(), DetectionManager(), INPUT, 0.5, round_to=1)
    blocks.extract_all_blocks(folder / "compressed")
    results = BlockRetrainer(
        teacher, blocks, blocks.model_manager, folder / "compressed", folder / "trained", 1, loader(2), seed=0
    ).train_all_blocks()
    profile = BlockProfiler(
        teacher, blocks, blocks.model_manager, folder / "trained", loader(1, seed=1), INPUT, compositions=2
    ).profile_all_blocks()
    pack(folder / "x.lgb", blocks, folder / "trained", profile, loader(1))
    return teacher, blocks, results, profile, folder


def test_every_selection_of_a_detector_is_a_segment_by_itself(built):
    graph = built[1].graph
    row = [segment for segment in graph.segments if is_data_dependent(segment)]
    assert row
    for segment in row:
        assert sum(node.op == "call_module" for node in segment.nodes) == 1


def test_a_detectors_variants_are_compared_before_its_selections(built):
    blocks = built[1]
    beyond = behind_selections(blocks.graph)
    for block in blocks.block_names:
        found = comparable(blocks.graph, [block])
        assert found
        if next(s for s in blocks.graph.blocks if s.name == block).inputs[0] not in beyond:
            assert beyond.isdisjoint(found)


def test_every_descendant_of_a_detector_is_trained(built):
    _, blocks, results, _, _ = built
    assert {(r.block, r.variant) for r in results} == {(b, "sparsity=0.5") for b in blocks.block_names}
    assert {r.method for r in results} <= {"reconstruction", "gradient", "gradient, lower rate"}


def test_a_detector_finds_on_the_device_what_it_finds_here(built, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    teacher, folder = built[0], built[-1]
    x, _ = rectangles(3, seed=7)
    with Network.open(folder / "x.lgb") as network:
        results = network.self_test()
        assert len(results) > 1
        assert all(result.passed for result in results)
        assert network.manifest.task == "object detection"
        with torch.no_grad():
            wanted = DetectionManager().network_to_cut(teacher, INPUT)(x)
        for found, expected in zip(network(x), wanted.values(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        assert int((wanted["labels"] > 0).sum()) > 3
