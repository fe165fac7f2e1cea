"""The arguments of `legodnn-build`, and what each subcommand does.

Arguments, output and recipe are checked before torch is imported, which takes seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from legodnn.builder.recipe.load import builtin_recipes, load_recipe, require_buildable
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.recipe.template import template
from legodnn.builder.report.path import report_path
from legodnn.builder.workdir.faults import own_errors
from legodnn.builder.workdir.log import on_stderr
from legodnn.shared.console import CommandParser, Exit, exit_statuses, split_subcommand, version
from legodnn.shared.errors import LegoError, UsageError, one_line
from legodnn.shared.files import atomic_write
from legodnn.shared.units import count, format_bytes

_EXAMPLES = """
A recipe is a TOML file. The smallest that builds:

  [model]
  factory = "my_networks:resnet"        # or "torchvision:resnet18"; looked up beside the recipe first
  weights = "resnet.pt"                 # a state dict
  input   = [1, 3, 224, 224]            # with the batch dimension
  [data]
  train   = "my_data:train_loader"      # a function that returns an iterable of (images, labels)
  test    = "my_data:test_loader"

Instead of a function, data may be the path of a data set in a format of its field, as 'legodnn-run --help' lists them.

examples:
  legodnn-build --list                          the recipes that come along
  legodnn-build resnet18 --plan                 which blocks there are and what they can lose; needs [model] alone,
                                                and with [data] says what a build takes: time, memory, disk
  legodnn-build my.toml -o my.lgb               build, with a report in my.report.html; run it again after an
                                                interruption and it goes on
  legodnn-build my.toml -o my.lgb --set data.train=photos/train --set data.test=photos/test
  legodnn-build my.toml -o small.lgb --set bundle.precision=fp16 --set distill.epochs=10
  legodnn-build my.toml -o my.lgb --no-timing   the same bundle up to 12 s sooner, with a report that has no times

subcommands (a first word that is one; a file of such a name is ./NAME):
  build       what is described here, and is done without a subcommand, too
  new FILE    write a recipe to start from, with every key and its meaning

exit status:
"""


def run(name: str, arguments: list[str]) -> int:
    """Run the subcommand that the arguments name; returns the exit status."""
    subcommand, words = split_subcommand(name, arguments, SUBCOMMANDS, PLANNED)
    return SUBCOMMANDS[subcommand](name, words)


def _build(name: str, arguments: list[str]) -> int:
    options = parser(name).parse_args(arguments)
    if options.list:
        return _list()
    if not options.recipe:
        raise UsageError(f"no recipe given; '{name} --list' shows the built-in ones, '{name} --help' the rest")
    for option in ("json", "groups"):
        if getattr(options, option) and not options.plan:
            raise UsageError(f"--{option} goes with --plan")
    if re.fullmatch(r"cpu|cuda(:\d+)?", options.device) is None:
        raise UsageError(f"--device {options.device}: cpu, cuda or cuda:N expected")
    with on_stderr(options.verbose), own_errors():
        recipe = load_recipe(options.recipe, options.set)
        return _plan(name, recipe, options) if options.plan else _make(name, recipe, options)


def _plan(name: str, recipe: Recipe, options: argparse.Namespace) -> int:
    from legodnn.builder import pipeline
    from legodnn.builder.report.text import cost_lines, plan_lines

    blocks = pipeline.cut(recipe, _device(options.device))
    plan, costs, unknown = blocks.plan(options.groups), None, ""
    try:
        if recipe.data.train is not None:
            costs = pipeline.costs(recipe, blocks, options.seed)
    except LegoError as error:  # a plan needs a model alone
        unknown = one_line(error)
    if options.json:
        print(json.dumps({**plan.to_plain(), "build": costs and costs.to_plain()}, indent=1))
    else:
        print("\n".join([*plan_lines(plan), *(cost_lines(costs) if costs else [])]))
    if unknown:
        print(f"{name}: what a build takes is not known: {unknown}", file=sys.stderr)
    return Exit.DONE


def _make(name: str, recipe: Recipe, options: argparse.Namespace) -> int:
    if options.output is None:
        raise UsageError("where should the bundle go? Give -o FILE.lgb (or --plan to only look)")
    out = Path(options.output)
    _check_output(out, Path(options.recipe))
    work = Path(options.work) if options.work else out.with_name(out.name + ".work")
    if work.exists() and not work.is_dir():
        raise UsageError(f"--work {work}: not a directory")
    if work.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"-o {out}: is in the work directory, where nothing else may be; give it another place")
    if out.resolve() in work.resolve().parents:
        raise UsageError(f"--work {work}: {out} would be a directory and the bundle; give it another place")
    require_buildable(recipe)
    from legodnn.builder import pipeline
    from legodnn.builder.report.text import stage_lines

    if options.explain:
        print("\n".join(pipeline.explain(recipe, work, _device(options.device), options.seed)))
        return Exit.DONE
    timing, device = not options.no_timing, _device(options.device)
    result = pipeline.build(recipe, out, work, device, options.seed, timing=timing, own_process=True)
    for warning in result.warnings:
        print(f"{name}: warning: {warning}", file=sys.stderr)
    print("\n".join(stage_lines(result.stages)))
    predictor = result.profile.predictor
    judged = f"on these {count(predictor.judged, 'input')} " if predictor.judged else ""
    print(
        f"{result.path}: {format_bytes(result.bytes)}, {count(len(result.profile.distortion), 'block')}, "
        f"the teacher's {result.metric} {100 * predictor.teacher_accuracy:.2f} %, "
        f"{judged}predicted to within {100 * predictor.mean_error:.2f} points (worst {100 * predictor.worst_error:.2f})"
    )
    print(f"{result.report}: the report")
    return Exit.DONE


def parser(name: str) -> argparse.ArgumentParser:
    """The options of `legodnn-build`, and its help."""
    made = CommandParser(
        prog=name,
        description="Turn a trained vision network into a bundle of interchangeable blocks that legodnn-run scales.",
        epilog=_EXAMPLES + exit_statuses(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("recipe", nargs="?", help="a TOML file, or the name of a built-in recipe")
    made.add_argument("-o", "--output", metavar="FILE", help="the bundle to write, *.lgb; *.report.html tells of it")
    made.add_argument("--work", metavar="DIR", help="where stages keep their results (default: FILE.work)")
    made.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    made.add_argument("--seed", type=_seed, metavar="N", default=0, help="of everything random (default: 0)")
    made.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="override the recipe")
    untimed = "time no selections for the report; the bundle is the same"
    made.add_argument("--no-timing", action="store_true", help=untimed)
    plan = "show the blocks, what they can lose, and what a build takes, then stop"
    made.add_argument("--plan", action="store_true", help=plan)
    explain = "say which stages would be made, or made again and because of what, then stop"
    made.add_argument("--explain", action="store_true", help=explain)
    made.add_argument("--json", action="store_true", help="with --plan: one JSON object instead of text")
    made.add_argument("--groups", action="store_true", help="with --plan: which channels go together, layer by layer")
    made.add_argument("--list", action="store_true", help="show the built-in recipes")
    made.add_argument("-v", "--verbose", action="store_true", help="say more; build.log in the work directory has all")
    made.add_argument("--debug", action="store_true", help="print the traceback of whatever goes wrong")
    made.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    return made


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to 4294967295 expected, not '{text}'")
    return int(text)


def _device(name: str) -> str:
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return name


def _check_output(out: Path, recipe: Path) -> None:
    """Raise `UsageError` for a path that cannot be written to, or is the recipe's, before hours of work."""
    if out.is_dir():
        raise UsageError(f"{out}: is a directory; give the bundle's file name")
    for path in (out, report_path(out)):
        if path.exists() and recipe.exists() and path.samefile(recipe):
            raise UsageError(f"{path}: is the recipe, and would be replaced; give the bundle another name")
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is no regular file, and would be replaced by one")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"{out.parent}: no such directory; create it first")
    if not os.access(out.resolve().parent, os.W_OK):
        raise UsageError(f"{out.parent}: cannot be written to")


def _list() -> int:
    recipes = builtin_recipes()
    width = max(map(len, recipes))
    complete = {name for name in recipes if load_recipe(name).data.train is not None}
    for heading, names in (
        ("With data; without weights the teacher is trained first:", complete),
        ("Networks for your own [data], and weights with --set model.weights=FILE:", set(recipes) - complete),
    ):
        print(heading)
        for name in sorted(names):
            first = recipes[name].read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            print(f"  {name:{width}}  {first}")
    return Exit.DONE


def _new(name: str, arguments: list[str]) -> int:
    options = new_parser(name).parse_args(arguments)
    path = Path(options.file)
    if path.exists():
        raise UsageError(f"{path}: is there already; remove it first, or give another name")
    atomic_write(path, template().encode())
    print(f"{path}: a recipe to start from; '{name} {path} --plan' shows what would be done")
    return Exit.DONE


def new_parser(name: str) -> argparse.ArgumentParser:
    """The options of `legodnn-build new`, and its help."""
    description = "Write a recipe to start from, with every key and its meaning."
    made = CommandParser(prog=f"{name} new", description=description)
    made.add_argument("file", metavar="FILE", help="the recipe to write, *.toml")
    made.add_argument("--debug", action="store_true", help="print the traceback of whatever goes wrong")
    return made


SUBCOMMANDS: Mapping[str, Callable[[str, list[str]], int]] = {"build": _build, "new": _new}
"""By name; the first is meant where there is none."""

PLANNED = ("export",)
"""Names kept for later versions."""
