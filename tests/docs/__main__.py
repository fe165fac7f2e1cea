"""Check the generated parts of the documents, or write them."""

from __future__ import annotations

import argparse
import sys

from tests.docs.documents import DOCUMENTS, ROOT, read, with_generated
from tests.docs.generated import contents


def main() -> int:
    """Exit status 1 where a part is stale and not written."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write stale parts into the documents")
    options = parser.parse_args()
    made = contents()
    stale = {name: text for name in DOCUMENTS if (text := with_generated(read(name), made)) != read(name)}
    for name, text in stale.items():
        if options.write:
            (ROOT / name).write_text(text, encoding="utf-8")
        print(f"{name}: {'written' if options.write else 'stale; write it with: python -m tests.docs --write'}")
    return 1 if stale and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
