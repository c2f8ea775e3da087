"""Prints how far our networks are from the official packages, as a table.

``python -m tests.parity.report`` runs everything that is installed; ``--model vit_b`` one model,
``--images 1`` fewer images. Needs the packages of the extra ``parity``; no weights are downloaded.
``transformers`` is also compared as it is shipped, with another layer norm epsilon than the
official code: that line shows the size of its own difference and does not count.
"""

import argparse
import platform
import sys
from collections.abc import Sequence

import torch

from tests.parity.compare import MAX_ERROR, MIN_EQUAL_PIXELS, PAIRS, Difference, compare
from tests.parity.images import make_images
from tests.parity.peers import available, versions

_HEADER = (
    "| model | against | images | answers | embedding | logits | scores | pixels equal |  |"
    "\n|---|---|--:|--:|--:|--:|--:|--:|---|"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where a limit is passed over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=PAIRS, action="append", help="default: all")
    parser.add_argument("--images", type=int, default=9, help="how many of the nine images")
    parser.add_argument("--details", action="store_true", help="one line for each answer as well")
    options = parser.parse_args(arguments)

    print(f"Python {platform.python_version()}, torch {torch.__version__}", end="")
    print("".join(f", {name} {number}" for name, number in versions().items()))
    print(f"Limits: embedding and logits {MAX_ERROR:g} of std, pixels {100 * MIN_EQUAL_PIXELS} %\n")
    print(_HEADER, flush=True)
    images = make_images()[: options.images]
    failed = False
    for name in options.model or PAIRS:
        package = PAIRS[name].package
        if not available(package.split()[0]):
            print(f"| {PAIRS[name].model} | {package}: not installed |", flush=True)
            continue
        differences = compare(PAIRS[name], images)
        passed = all(difference.passed for difference in differences)
        failed |= PAIRS[name].counts and not passed
        print(_row(name, len(images), differences), flush=True)
        if options.details:
            print("\n".join(str(difference) for difference in differences), flush=True)
    return int(failed)


def _row(name: str, n_images: int, differences: Sequence[Difference]) -> str:
    """Worst figures of one pair."""
    answers = [difference for difference in differences if difference.prompt]
    embeddings = [difference for difference in differences if not difference.prompt]
    passed = all(difference.passed for difference in differences)
    cells = (
        PAIRS[name].model,
        PAIRS[name].package,
        str(n_images),
        str(len(answers)),
        f"{max(item.max_error for item in embeddings):.1e}",
        f"{max(item.max_error for item in answers):.1e}",
        f"{max(item.score_error for item in answers):.1e}",
        f"{100 * min(item.equal_pixels for item in answers):.4f} %",
        ("ok" if passed else "OVER") + ("" if PAIRS[name].counts else ", does not count"),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
