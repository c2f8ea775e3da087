"""The command: ``python -m benchmarks``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables and write the files."""
    options = parse(arguments)
    # Before torch is imported by anything: it reads both once.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from benchmarks.run import run

    return run(options)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; cheap."""
    from benchmarks.suites import SUITES

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="napari-sam beside its peers, side by side."
    )

    def add(name: str, text: str, **settings: object) -> None:
        parser.add_argument(name, help=text, **settings)  # type: ignore[arg-type]

    add("--only", f"suites, separated by commas: {', '.join(SUITES)}", type=names, default=SUITES)
    add("--models", "registry names (default: vit_b)", type=names, default=("vit_b",))
    add("--contenders", "who takes part, by name (default: all)", type=names)
    add("--rounds", "turns of each contender", type=int, default=3)
    add("--threads", "threads of each contender", type=int, default=2)
    add("--points", "points a side of the automatic generator's grid", type=int, default=32)
    add("--quick", "tiny networks and pictures: only to see that it runs", action="store_true")
    add("--no-memory", "do not measure peak memory", action="store_true")
    add("--record", "append the ratios to the history", action="store_true")
    add("--history", "the history", type=Path, default=Path(__file__).with_name("history.jsonl"))
    add("--out", "folder for the results", type=Path, default=Path("out/bench"))
    return parser.parse_args(arguments)


def names(text: str) -> tuple[str, ...]:
    """Split a list at its commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


if __name__ == "__main__":
    sys.exit(main())
