"""The code and the documents speak the field's language: no private words outside the names that others rely on."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "README.md", "builder/README.md", "runtime/README.md", "shared/bundle/FORMAT.md", "tests/benchmarks/README.md",
    ".github/CONTRIBUTING.md", "packaging/CHANGELOG.md",
]  # fmt: skip

EVERYWHERE = {
    r"may go\b": "prunable",
    r"famil(y|ies)\b": "channel group, coupled channels",
    r"closed[ _]form\b": "least-squares reconstruction",
    r"held[ -]back\b": "validation split",
    r"trivial\w*": "chance level",
    r"look(s|ing)? at the input|without a look": "chance level",
    r"(with|without) numbers": "values, on the meta device",
    r"facts?\b": "metadata",
    r"ways? to run|(?-i:Way|WAYS)\b": "backend",
    r"rooms?\b": "capacity",
    r"duty|duties": "workload",
    r"passages?\b": "switch plan",
    r"looking\b": "control loop",
    r"growth\b|grown\b": "memory profiling",
    r"kept for the way back|let go of|lets go of": "cached, evicted",
    r"lets? \w+ through|make way|makes way|stands? back": "yield to inference",
    r"what there is|can be had|there is to be had": "available; achievable",
    r"troubles?\b": "error",
    r"sinks?\b": "output",
    r"hair\b": "tolerance",
    r"landscapes?\b": "achievable selections",
    r"give or take": "±",
}
"""Private words, as regular expressions, and what the field says."""

BUILDER = {
    r"stays?\b": "not prunable",
    r"decides?\b|decisions?\b": "data-dependent selection",
    r"grids?\b": "index map",
    r"homes?\b": "module path",
}
"""Those that are the field's own words elsewhere."""

EXEMPT: dict[str, tuple[str, ...]] = {
    # Public attribute of the exported `Opaque`.
    r"builder/(graph/tracing/(opaque|trace)|detectors/regions)\.py": ("decides",),
    # Local names in code that torch.jit.script compiles into bundles: another name, other bytes.
    r"builder/detectors/boxes\.py": ("stays",),
    r"builder/detectors/two_stage\.py": ("stay",),
    # A recipe's key and the parameter of the exported `BlockRetrainer` that takes it.
    r"builder/(pipeline|costs/estimate|distill/retrainer|recipe/(load|schema))\.py": ("closed_form_images",),
    # A method of the exported `AbstractModelManager` that users override.
    r"builder/(managers/(abstract|task)|profile/(profiler|teacher))\.py": ("get_trivial_acc",),
    # A key of `--plan --json`.
    r"builder/plan/plan\.py": ('"stays"',),
    # torch's function, and the rule named after it.
    r"builder/(graph/channels/rules|zoo/common/garments)\.py": ("grid_sample",),
    # The grid of cells is YOLO's own term.
    r"builder/zoo/detection/yolov3(_boxes|_loss)?\.py": ("grid", "Grid"),
    # `Duty` is exported, `duties` is a parameter and an attribute of the exported JointOptimizer and JointController.
    r"runtime/(__init__|command/choosing|multi/\w+)\.py": ("Duty", "duties"),
    # `Source.trouble` is a public member that users' own sources implement.
    r"runtime/(command/adapting|controller/(decider|sources/(callback|source))|multi/decider)\.py": ("trouble",),
    # `Network.way`, `Network.find_way` and the field `MemoryTable.way` are public; "way" is a key of cache files and of
    # `--info --json`.
    r"runtime/(command|controller|device|engine|profiling)/\w+\.py|runtime/network\.py": ("find_way", "way"),
    # A key of the `evaluation` object of `--json`.
    r"runtime/command/(evaluate|evaluation_text)\.py": ('"trivial"', "['trivial']"),
    # The documents name the same public names and keys.
    r"runtime/README\.md": ("Duty", "duties", "network.find_way()", "network.way", "`trivial`"),
    r"builder/README\.md": ("`distill.closed_form_images`", "`closed_form_images`"),
    r"\.github/CONTRIBUTING\.md": (
        "`Duty`", "`trouble`", "`Network.way`, `find_way`", "`distill.closed_form_images`", "`trivial`",
    ),
}  # fmt: skip
"""Names that others rely on, by file: exported names and their public members, recipe keys, JSON keys, fields of the
manifest, and words in their everyday meaning that nothing else says."""


def texts(path):
    """The lines of a Python file's names, comments and strings, each with its number: what a reader reads as words."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        return
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.COMMENT, tokenize.STRING) or token.type > tokenize.N_TOKENS:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def words(text):
    """A text with its names taken apart: ``_kept_count`` and ``KeptCount`` are words, too."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return f"{text} {apart.replace('_', ' ')}" if apart != text or "_" in text else text


def files():
    halves = [ROOT / name for name in ("builder", "runtime", "shared")]
    sources = [path for half in halves for kind in ("*.py", "*.j2") for path in sorted(half.rglob(kind))]
    return sources + [ROOT / name for name in DOCUMENTS]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_words(path):
    name = str(path.relative_to(ROOT))
    private = EVERYWHERE | (BUILDER if name.startswith("builder/") else {})
    exempt = [phrase for key, phrases in EXEMPT.items() if re.fullmatch(key, name) for phrase in phrases]
    found = []
    for number, line in texts(path):
        rest = line
        for phrase in exempt:
            rest = rest.replace(phrase, "")
        for word, instead in private.items():
            if re.search(rf"\b(?:{word})", words(rest), re.IGNORECASE):
                found.append(f"{name}:{number}: {line.strip()[:80]!r}: say {instead}")
    assert found == []
