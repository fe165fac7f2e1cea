"""A plan, what a build takes, and its stages as text a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from legodnn.builder.costs.estimate import Costs
from legodnn.builder.costs.loaders import LoaderSize
from legodnn.builder.plan.plan import BlockPlan, ModulePlan, NotPrunable, Plan
from legodnn.builder.workdir.clock import StageTime
from legodnn.shared.naming import few
from legodnn.shared.units import count, format_bytes, format_seconds


def plan_lines(plan: Plan) -> Iterator[str]:
    """The whole plan, line by line."""
    yield (
        f"{plan.parameters:,} parameters, {plan.flops / 1e6:,.1f} MFLOP per inference; "
        f"{count(len(plan.blocks), 'block')}, "
        f"{plan.removable_share:.0%} of the parameters are prunable"
    )
    if plan.metric:
        yield f"selections are judged by {plan.metric}"
    for block in plan.blocks:
        yield ""
        yield from _block_lines(block)
    if plan.trunk_layers:
        yield ""
        yield f"not in any block: {', '.join(plan.trunk_layers)}"
    for name, why in plan.opaque.items():
        yield f"kept whole: {name} ({why})"
    yield ""
    yield "what is not prunable:"
    for row in plan.not_prunable:
        yield f"  {_row_line(row)}"


def _block_lines(block: BlockPlan) -> Iterator[str]:
    sparsities = ", ".join(f"{s:g}" for s in block.sparsities)
    yield (
        f"{block.name}: {count(len(block.layers), 'layer')}, {block.parameters:,} parameters, "
        f"{block.flops / 1e6:,.1f} MFLOP; at sparsities {sparsities}; up to {block.removable_share:.0%} of the "
        f"parameters and {block.removable_flops_share:.0%} of the FLOPs can be removed"
    )
    yield from _tree_lines(block.modules)
    for row in block.not_prunable:
        yield f"  not prunable: {_row_line(row)}"
    for group in block.groups:
        yield f"  group: {group}"


def _tree_lines(modules: Sequence[ModulePlan]) -> Iterator[str]:
    """Names relative to the module they are in, with the layers inside and the prunable share of their parameters."""
    above: list[str] = []
    for module in modules:
        del above[module.depth :]
        name = module.name[len(above[-1]) + 1 :] if above else module.name
        above.append(module.name)
        share = module.removable_parameters / module.parameters if module.parameters else 0.0
        yield f"  {'  ' * module.depth + name:40} {count(module.layers, 'layer'):>10} {share:5.0%} prunable"


def _row_line(row: NotPrunable) -> str:
    return f"{count(row.channels, 'channel')} of {few(row.layers)}: {row.reason}"


def cost_lines(costs: Costs) -> Iterator[str]:
    """What a build takes, line by line."""
    yield ""
    yield "what a build from nothing takes on this machine, about:"
    passes = [f"{_passes(costs.teacher_passes)} to train the teacher"] if costs.teacher_passes else []
    passes.append(f"{_passes(costs.train_passes)} to distil")
    yield f"  data.train  {_images(costs.train)}; {', '.join(passes)}"
    yield f"  data.test   {_images(costs.test)}; {_passes(costs.test_passes)}"
    if costs.seconds is None:
        yield "  time        not known, since a loader does not know its length"
    else:
        stages = ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in costs.seconds.items())
        yield f"  time        {format_seconds(sum(costs.seconds.values()))}: {stages}"
    yield f"  memory      {format_bytes(costs.memory_bytes)} at its peak"
    disk = costs.disk
    yield f"  disk        {format_bytes(disk.work)} in the work directory, {format_bytes(disk.bundle)} for the bundle"


def _images(size: LoaderSize) -> str:
    known = "an unknown number of images" if size.images is None else count(size.images, "image")
    return f"{known} in batches of {size.batch}"


def _passes(number: float | None) -> str:
    return "an unknown number of passes" if number is None else f"{number:.3g} {'pass' if number == 1 else 'passes'}"


def stage_lines(stages: Sequence[StageTime]) -> Iterator[str]:
    """The stages of a build as a table: seconds, peak memory, and what was used again."""
    rows = [("stage", "time", "peak memory", "")]
    for stage in stages:
        seconds = "unknown" if stage.seconds is None else format_seconds(stage.seconds)
        peak = "" if stage.peak_bytes is None else format_bytes(stage.peak_bytes)
        rows.append((stage.name, seconds, peak, stage.note))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, seconds, peak, note in rows:
        yield f"{name:{widths[0]}}  {seconds:>{widths[1]}}  {peak:>{widths[2]}}  {note}".rstrip()
