"""Whether tests notice that a safeguard of the builder's is gone: `python -m tests.benchmarks.removals [--only WORD]`.

Each is removed or reversed in a copy of the repository, and its package's unit tests are run as in
`tests.benchmarks.mutants`. Prints a table, and ends with status 1 where no test fails.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.mutants import SURVIVED, Judge


@dataclass(frozen=True)
class Removal:
    """What is removed or reversed, and how: ``before``, once in the file, becomes ``after``."""

    what: str
    how: str
    file: str
    before: str
    after: str

    @property
    def package(self) -> str:
        """Whose tests should notice."""
        return self.file.split("/")[1]


CALIBRATION, GRADIENT = "builder/distill/calibration.py", "builder/distill/gradient.py"
RECONSTRUCTION, RETRAINER = "builder/distill/reconstruction.py", "builder/distill/retrainer.py"
RESULTS, DERIVE, STORED = "builder/distill/results.py", "builder/prune/derive.py", "builder/prune/stored.py"
PACKING, STAGE = "builder/bundle/packing.py", "builder/workdir/stage.py"

REMOVALS = [Removal(*row) for row in (
    ("optimiser's step", "none", GRADIENT, "        self.optimizer.step()\n", ""),
    ("optimiser's step", "uphill", GRADIENT, "lr=rate, foreach=True)", "lr=rate, foreach=True, maximize=True)"),

    ("least squares", "not solved", CALIBRATION, "reconstruction.fit(", "(lambda *_: None)("),
    ("least squares", "not written", RECONSTRUCTION, "        layer.weight.copy_(solved", "        0 * (solved"),
    ("least squares", "of the opposite", RECONSTRUCTION, "    moment += strength", "    moment = -moment + strength"),

    ("pruned neighbours", "gradient: the teacher alone", GRADIENT, "< OWN_PATH", "< 0"),
    ("pruned neighbours", "gradient: the path alone", GRADIENT, "< OWN_PATH", "< 2"),
    ("pruned neighbours", "gradient: a path of the teacher's outputs", GRADIENT,
     "= answer if bool(torch.isfinite(answer).all()) else wanted", "= wanted"),
    ("pruned neighbours", "least squares: the teacher alone", CALIBRATION, "in (None, variant)", "in (None, None)"),
    ("pruned neighbours", "least squares: a path of the teacher's outputs", CALIBRATION,
     "= descendant.module(batch.paths[variant][source])", "= batch.teacher[target]"),
    ("pruned neighbours", "validation: a path of the teacher's outputs", GRADIENT, "[target] = on_path",
     "[target] = wanted"),

    ("retry", "none", RETRAINER, "if again else {}", "if False else {}"),
    ("retry", "at the same rate", RETRAINER, "self.settings.rate * LOWER_RATE", "self.settings.rate"),
    ("retry", "from where it diverged to", RETRAINER, "self._restore({v: solved[v] for v in again})", "..."),
    ("retry", "of what has not diverged", RETRAINER, "if not error < max", "if error < max"),

    ("schedule", "one rate", GRADIENT, "* warm * 0.5 * (1 + math.cos(math.pi * progress))", ""),
    ("schedule", "rising", GRADIENT, "(1 + math.cos", "(1 - math.cos"),
    ("schedule", "no warm-up", GRADIENT, "* warm * 0.5", "* 0.5"),
    ("schedule", "no decay", GRADIENT, "* warm * 0.5 * (1 + math.cos(math.pi * progress))", "* warm"),

    ("held-out errors", "of training data", RETRAINER, "self.data.validation()", "self.data.training(0)"),
    ("held-out errors", "the worst step is kept", RESULTS, "chosen = min(usable", "chosen = max(usable"),
    ("held-out errors", "the last step is kept", RESULTS,
     "chosen = min(usable, key=lambda step: step.errors.judged(block))", "chosen = usable[-1]"),
    ("held-out errors", "without those of the path", GRADIENT,
     "(self.teacher_fed[block] + (min(path, 1.0) if math.isfinite(path) else 1.0)) / 2", "self.teacher_fed[block]"),

    ("self-test of descendants", "of another block", DERIVE, "    if not same:", "    if False:"),
    ("self-test of descendants", "indices beyond the block", DERIVE, "if not 0 < len(index) < len(ids) or",
     "if False and"),
    ("self-test of descendants", "weights not read", STORED, "descendant.module.load_state_dict(", "dict("),
    ("self-test of descendants", "of another teacher", RESULTS, "if recorded and changed:", "if False:"),
    ("self-test of descendants", "none is packed", PACKING, "return unique[:SELF_TEST_SELECTIONS]", "return []"),
    ("self-test of descendants", "the teacher's outputs are expected of them", PACKING,
     "self._originals(), chosen).outputs", "self._originals(), {}).outputs"),
    ("self-test of descendants", "the teacher is not judged again", PACKING, "        require_agreement(found,",
     "        (lambda *_: None)(found,"),

    ("stale stages", "one of other inputs is done", STAGE, 'mark.get("inputs") == self.inputs and mark.get("done")',
     'mark.get("done")'),
    ("stale stages", "an unfinished one is done", STAGE, ' and mark.get("done") is True', ""),
    ("stale stages", "files of other inputs stay", STAGE, "self._remove(mark", "(lambda _: None)(mark"),
    ("stale stages", "one of other inputs is gone on with", STAGE, 'resumed = mark.get("inputs") == self.inputs',
     "resumed = True"),
    ("stale stages", "the seed is no input", RETRAINER, '            "seed": repr(self.seed),\n', ""),
)]  # fmt: skip


def main() -> None:
    """Judge all, and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", metavar="WORD", help="those with this in their name")
    given = options.parse_args()
    root = Path(__file__).parents[2]
    chosen = [removal for removal in REMOVALS if given.only in removal.what]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="removals-") as folder:
        judge = Judge(root, Path(folder))
        judge.prepare(removal.package for removal in chosen)
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(("what", "how", "place", "noticed by"))
        for removal in chosen:
            source = (root / removal.file).read_text(encoding="utf-8")
            if source.count(removal.before) != 1:
                sys.exit(f"{removal.file}: {removal.before!r} is not there once, so it cannot be removed")
            found = judge.judge(removal.package, removal.file, source.replace(removal.before, removal.after))
            line = source[: source.index(removal.before)].count("\n") + 1
            noticed = "NOTHING" if found.verdict == SURVIVED else found.noticed_by.removeprefix("tests/unit/builder/")
            table.writerow((removal.what, removal.how, f"{removal.file}:{line}", noticed))
            sys.stdout.flush()
            unnoticed += found.verdict == SURVIVED
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
