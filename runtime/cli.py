"""The command `legodnn-run`."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from typing import Any, Dict, Iterator, List, Optional

from legodnn.shared.console import CommandParser, run_command, version
from legodnn.shared.errors import BundleError, UsageError
from legodnn.shared.units import format_seconds, parse_bytes, parse_seconds

NAME = "legodnn-run"

_EXAMPLES = """
examples:
  legodnn-run fashion.lgb                              the most accurate network, and what else can be had
  legodnn-run fashion.lgb --time 5ms --memory 1.5MiB   the best within a budget, run on the bundle's samples
  legodnn-run fashion.lgb --time 5ms --input clip.raw  frames from a file: raw tensors, one after the other
  camera | legodnn-run fashion.lgb --input - --json    frames from a pipe, results as JSON lines
  legodnn-run fashion.lgb --info                       what is in the bundle
  legodnn-run fashion.lgb --self-test                  does this device compute what the builder computed?

A frame is the network's input without the batch dimension, its numbers row by row, little-endian (--info shows the
shape and dtype). Latencies are measured on the first run and remembered per device, bundle and number of threads.

exit status: 0 done, 2 something was wrong (one line on stderr says what), 130 interrupted with Ctrl-C
"""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run `legodnn-run`; returns the exit status."""
    return run_command(NAME, lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=NAME,
        description="Run a LegoDNN bundle: the most accurate network that fits the time and the memory there is.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="a *.lgb file")
    parser.add_argument("--time", metavar="TIME", help="budget per inference: 5ms, 0.2s, 800us")
    parser.add_argument("--memory", metavar="SIZE", help="budget for weights and peak activations: 4.5MiB, 800kB")
    parser.add_argument("--input", metavar="FILE", help="frames as raw tensors; - for standard input")
    parser.add_argument("--frames", metavar="N", type=int, help="stop after N frames")
    parser.add_argument("--threads", metavar="N", type=int, help="CPU threads to use (default: torch's choice)")
    parser.add_argument("--info", action="store_true", help="show what is in the bundle and stop")
    parser.add_argument("--self-test", action="store_true", help="compare with the builder's results and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of text")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    return parser


def _run(arguments: List[str]) -> int:
    options = _parser().parse_args(arguments)
    seconds = parse_seconds(options.time) if options.time is not None else None
    memory = parse_bytes(options.memory) if options.memory is not None else None
    for name, value in (("--frames", options.frames), ("--threads", options.threads)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: give a number of at least 1")

    if options.input not in (None, "-"):
        with open(options.input, "rb"):
            pass  # better to know now than after measuring

    # torch says at length that numpy is missing, which a device is meant to do without.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    import torch  # after the arguments are known to be right: it takes a second to load

    from legodnn.runtime.network import Network
    from legodnn.runtime.report import Reporter, describe, info_text

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    reporter = Reporter(options.json)
    with Network.open(options.bundle) as network:
        network.verify()
        if options.info:
            facts = describe(network.manifest, options.bundle, network.digest)
            reporter.say("info", facts, info_text(facts))
            return 0
        _self_test(network, reporter, options.bundle, options.self_test)
        if options.self_test:
            return 0
        _choose(network, reporter, seconds, memory)
        frames = _samples(network, options.frames)
        if options.input is not None:
            from legodnn.runtime.frames import read_frames

            frames = (([frame], None) for frame in read_frames(options.input, network.input, options.frames))
        _run_frames(network, reporter, frames)
    return 0


def _self_test(network: Any, reporter: Any, path: str, wanted: bool) -> None:
    from legodnn.runtime.report import self_test_facts

    results = network.self_test()
    facts = self_test_facts(results)
    if wanted or not facts["passed"]:
        worst = max(r.error for r in results)
        reporter.say("self-test", facts, f"self-test: {len(results)} selections, largest relative error {worst:.1e}")
    if not facts["passed"]:
        raise BundleError(f"{path}: this device does not compute what the builder computed; see the self-test above")


def _choose(network: Any, reporter: Any, seconds: Optional[float], memory: Optional[int]) -> None:
    from legodnn.runtime.latency import LatencyEstimator
    from legodnn.runtime.optimizer import ScalingOptimizer
    from legodnn.runtime.report import choice_facts, choice_text, offers, offers_text

    table = LatencyEstimator(network).profile_all_blocks(reporter.progress)
    optimizer = ScalingOptimizer(network)
    if seconds is None and memory is None:
        choices = offers(network, optimizer)
        text = f"what can be had (--memory, --time):\n{offers_text(network, choices)}\n"
        reporter.say("offers", {"offers": [choice_facts(c) for c in choices]}, text)
    choice = optimizer.update_model(seconds, memory)
    latency = {"latency_error": {"median": table.median_error, "worst": table.worst_error}}
    reporter.say("choice", {**choice_facts(choice), **latency}, choice_text(network, choice))


def _samples(network: Any, limit: Optional[int]) -> Iterator[Any]:
    inputs, labels = network.samples()
    count = inputs[0].shape[0]
    for i in range(count if limit is None else limit):
        place = i % count
        yield [x[place : place + 1] for x in inputs], labels[place] if labels else None


def _run_frames(network: Any, reporter: Any, frames: Iterator[Any]) -> None:
    spent: List[float] = []
    right = judged = 0
    for number, (frame, label) in enumerate(frames):
        started = time.perf_counter()
        answer = network(*frame)
        spent.append(time.perf_counter() - started)
        facts = _answer_facts(network, answer)
        if label is not None and "class" in facts:
            judged += 1
            right += facts["class"] == label
        reporter.say("frame", {"frame": number, "seconds": spent[-1], **facts}, _answer_text(number, facts, spent[-1]))
    summary: Dict[str, Any] = {"frames": len(spent), "median_seconds": statistics.median(spent)}
    text = f"{len(spent)} frames, median {format_seconds(summary['median_seconds'])} per inference"
    if judged:
        summary["right"], summary["judged"] = right, judged
        text += f"; {right} of {judged} samples right"
    reporter.say("summary", summary, text)


def _answer_facts(network: Any, answer: Any) -> Dict[str, Any]:
    """The top class of a classifier; for other networks the outputs' shapes and ranges."""
    if not isinstance(answer, tuple) and answer.dim() == 2:
        scores = answer[0]
        best = int(scores.argmax())
        labels = network.input.labels
        probability = float(scores.softmax(0)[best])
        return {"class": best, "label": labels[best] if best < len(labels) else str(best), "probability": probability}
    outputs = answer if isinstance(answer, tuple) else (answer,)
    return {"outputs": [{"shape": list(o.shape), "min": float(o.min()), "max": float(o.max())} for o in outputs]}


def _answer_text(number: int, facts: Dict[str, Any], seconds: float) -> str:
    if "class" in facts:
        return f"frame {number}: {facts['label']} ({facts['probability']:.1%}), {format_seconds(seconds)}"
    outputs = [f"{'x'.join(map(str, o['shape']))} in [{o['min']:.3g}, {o['max']:.3g}]" for o in facts["outputs"]]
    return f"frame {number}: {'; '.join(outputs)}, {format_seconds(seconds)}"


if __name__ == "__main__":
    sys.exit(main())
