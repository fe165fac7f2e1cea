"""The options of `legodnn-run` -> a checked `Request`."""

from __future__ import annotations

import argparse
import math
import os
from typing import Callable, List, Optional, Sequence, Tuple, TypeVar

from legodnn.runtime.command.named import Values, bundle_names
from legodnn.runtime.command.request import Adaptation, Job, Request
from legodnn.runtime.controller import Budget
from legodnn.runtime.frames.pixels import PIXEL_FORMATS, PixelFormat, parse_size
from legodnn.runtime.frames.stream import STANDARD_INPUT
from legodnn.shared.errors import UnitError, UsageError
from legodnn.shared.host import cpu_cores
from legodnn.shared.units import count, parse_bytes, parse_seconds

TENSOR = "tensor"
"""The format of frames that need no conversion."""

_FASTEST, _SLOWEST, _LIGHTEST = 10_000.0, 0.001, 0.001
"""Bounds of rates (per second), shares and weights: wide enough for any device, against slips; not tuned."""

_NOT_EVALUATED = ("input", "format", "size", "fps", "frames", "adapt", "schedule", "step", "info", "self-test")

T = TypeVar("T")

_ONLY_ONE = {"time": "give each network a --deadline", "fps": "give each network a --rate", "strict": "leave it out"}
_ONLY_SEVERAL = {
    "rate": "--fps paces it, --time is its budget", "deadline": "--time is its budget",
    "weight": "there is nothing to weigh it against", "cores": "--threads bounds what it takes",
}  # fmt: skip


def request_of(options: argparse.Namespace) -> Request:
    """The request of parsed arguments. Raises `UsageError` naming the option and the fix."""
    for option, value in (("--frames", options.frames), ("--threads", options.threads)):
        if value is not None and value < 1:
            raise UsageError(f"{option} {value}: give a number of at least 1")
    if (options.threads or 1) > cpu_cores():
        raise UsageError(f"--threads {options.threads}: this device has {count(cpu_cores(), 'core')}, give no more")
    if options.info and options.self_test:
        raise UsageError("--info and --self-test each stop when they are done; give one of them")
    bundles = bundle_names(options.bundles)
    _check_company(options, len(bundles))
    _check_evaluation(options, len(bundles))
    return Request(
        jobs=_jobs(options, bundles),
        seconds=_parsed(parse_seconds, options.time),
        memory=_parsed(parse_bytes, options.memory),
        cores=_parsed(_cores, options.cores) or 1.0,
        frames=options.frames,
        threads=options.threads,
        adaptation=_adaptation(options),
        measure=options.measure,
        info=options.info,
        self_test=options.self_test,
        json=options.json,
        plain=options.plain,
        render=options.render,
        evaluate=options.evaluate,
        threshold=_parsed(_threshold, options.threshold),
    )


def _check_company(options: argparse.Namespace, networks: int) -> None:
    """Raise `UsageError` for options that do not apply to this number of networks."""
    wrong, number = (_ONLY_SEVERAL, "several networks") if networks == 1 else (_ONLY_ONE, "one network")
    for name, instead in wrong.items():
        if getattr(options, name):
            raise UsageError(f"--{name} is for {number}; with {networks}, {instead}")


def _check_evaluation(options: argparse.Namespace, networks: int) -> None:
    """Raise `UsageError` for options that do not apply to --evaluate."""
    if options.evaluate is None:
        if options.threshold is not None:
            raise UsageError("--threshold goes with --evaluate: it decides what examples are counted as")
        return
    if networks > 1:
        raise UsageError(f"--evaluate is for one network, not {networks}: their data sets are run one by one")
    for name in _NOT_EVALUATED:
        if getattr(options, name.replace("-", "_")):
            raise UsageError(f"--{name} does not go with --evaluate, which runs a whole data set with one selection")


# ---- networks -------------------------------------------------------------------------------------------------------
def _jobs(options: argparse.Namespace, bundles: Sequence[Tuple[str, str]]) -> Tuple[Job, ...]:
    names = [name for name, _ in bundles]

    def given(option: str) -> Values:
        return Values(f"--{option}", getattr(options, option), names)

    inputs, formats, sizes = given("input"), given("format"), given("size")
    rates, deadlines, weights = given("rate"), given("deadline"), given("weight")
    if [inputs.of(name) for name in names].count(STANDARD_INPUT) > 1:
        raise UsageError("--input -: standard input can feed one network only; say which: --input NAME=-")
    if len(names) > 1 and (formats.common or sizes.common) and all(inputs.of(name) is None for name in names):
        raise UsageError("--format and --size go with --input")
    without = [name for name in names if rates.of(name) is None]
    if without and len(names) > 1 and not (options.info or options.self_test):
        raise UsageError(f"no rate for {', '.join(without)}: say how many frames a second, like --rate {without[0]}=10")
    return tuple(
        Job(
            name=name,
            bundle=path,
            input=inputs.of(name),
            pixels=_pixels(name, inputs.of(name), formats, sizes),
            fps=_fps("--rate", rates.of(name)) if len(names) > 1 else _fps("--fps", options.fps),
            deadline=_parsed(parse_seconds, deadlines.of(name)),
            weight=_parsed(_weight, weights.of(name)) or 1.0,
        )
        for name, path in bundles
    )


def _pixels(network: str, source: Optional[str], kinds: Values, sizes: Values) -> Optional[PixelFormat]:
    """The pixel format of raw frames; None where frames are tensors or image files."""
    raw = source is not None and not os.path.isdir(source)
    # A common value applies to the networks with raw frames only.
    kind = kinds.of(network) if raw else kinds.own.get(network)
    size = sizes.of(network) if raw else sizes.own.get(network)
    if kind is None and size is None:
        return None
    given = "--format" if kind is not None else "--size"
    if source is None:
        raise UsageError(f"{given} goes with --input")
    if not raw:
        raise UsageError(f"{given} is for raw frames; {source} is a folder, whose images need none")
    name = kind or TENSOR
    if name == TENSOR:
        if size is not None:
            raise UsageError(f"--size goes with --format, one of {', '.join(PIXEL_FORMATS)}")
        return None
    if name not in PIXEL_FORMATS:
        raise UsageError(f"--format {name}: not known; known are {', '.join((TENSOR, *PIXEL_FORMATS))}")
    if size is None:
        raise UsageError(f"--format {name} needs --size, the frames' width and height: --size 640x480")
    return PixelFormat(name, *parse_size(size))


# ---- budgets that change --------------------------------------------------------------------------------------------
def _adaptation(options: argparse.Namespace) -> Optional[Adaptation]:
    if not (options.adapt or options.schedule is not None or options.step):
        for option, value in (("--strict", options.strict), ("--log", options.log is not None)):
            if value:
                raise UsageError(f"{option} goes with --adapt, --schedule or --step: nothing changes without them")
        return None
    return Adaptation(
        device=options.adapt,
        schedule=options.schedule,
        steps=tuple(_step(text) for text in options.step or ()),
        strict=options.strict,
        log=options.log,
    )


def _step(text: str) -> Budget:
    """The budget in ``5ms``, ``4MiB`` or ``5ms,4MiB``. Raises `UsageError`."""
    times: List[float] = []
    sizes: List[int] = []
    for part in text.split(","):
        try:
            times.append(parse_seconds(part))
        except UnitError:
            try:
                sizes.append(parse_bytes(part))
            except UnitError:
                raise UsageError(f"--step {text}: '{part}' is neither a time like 5ms nor a size like 4MiB") from None
    if len(times) > 1 or len(sizes) > 1:
        raise UsageError(f"--step {text}: one time and one size at most; for each step its own --step")
    return Budget(times[0] if times else None, sizes[0] if sizes else None)


# ---- numbers --------------------------------------------------------------------------------------------------------
def _parsed(parse: Callable[[str], T], text: Optional[str]) -> Optional[T]:
    return None if text is None else parse(text)


def _fps(option: str, text: Optional[str]) -> Optional[float]:
    return None if text is None else _number(option, text, "frames per second", _SLOWEST, _FASTEST)


def _weight(text: str) -> float:
    return _number("--weight", text, "a weight", _LIGHTEST, 1 / _LIGHTEST)


def _threshold(text: str) -> float:
    value = _number("--threshold", text, "a probability", 0, 1)
    if value in (0, 1):
        raise UsageError(f"--threshold {text}: with it all would be one class; a probability between 0 and 1 expected")
    return value


def _cores(text: str) -> float:
    return _number("--cores", text, "a share of the cores' time", _SLOWEST, 1)


def _number(option: str, text: str, what: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise UsageError(f"{option} {text}: {what} expected, from {least:g} to {most:g}")
    return value
