"""One run: the suites that were asked for, and the files that they leave."""

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import history, report
from benchmarks.lineup import NAMES
from benchmarks.machine import describe_machine
from benchmarks.models import register_small
from benchmarks.plot import to_svg
from benchmarks.settings import SMALL, Settings
from benchmarks.suites import SUITES
from benchmarks.timing import Block


def run(options: argparse.Namespace) -> int:
    """Measure what the command line asks for; 2 if it asks for something unknown."""
    contenders = options.contenders or NAMES
    unknown = [n for n in options.only if n not in SUITES]
    unknown += [n for n in contenders if n not in NAMES]
    if unknown:
        known = ", ".join([*SUITES, *NAMES])
        print(f"There is no {unknown[0]!r}. Suites and contenders: {known}.")
        return 2
    if options.quick and options.record:
        print("A quick run measures nothing: it cannot be recorded.")
        return 2
    torch.set_num_threads(options.threads)
    settings = Settings(
        models=options.models,
        contenders=contenders,
        folder=options.out / "weights",
        rounds=options.rounds,
        threads=options.threads,
        points=options.points,
        quick=options.quick,
        memory=not options.no_memory,
    )
    if options.quick:
        register_small()
        settings = replace(settings, models=(SMALL,), points=3, rounds=1)
    measure(settings, options.only, options.out, options.history, record=options.record)
    return 0


def measure(
    settings: Settings, suites: Sequence[str], out: Path, history_file: Path, *, record: bool
) -> None:
    """Run suites; tables appear as they are ready, and the files hold what is there so far."""
    machine = describe_machine(settings.threads)
    out.mkdir(parents=True, exist_ok=True)
    print(machine.describe(), flush=True)
    blocks: list[Block] = []
    for suite in suites:
        for block in importlib.import_module(f"benchmarks.suites.{suite}").run(settings):
            blocks.append(block)
            print(f"\n## {block.name}\n\n{report.table(block)}", flush=True)
            (out / "results.json").write_text(report.to_json(asdict(machine), blocks))
    line = history.make_line(machine, blocks, date=datetime.now(UTC))
    comparison = history.compare(history.read(history_file), line)
    print("\n" + "\n".join(comparison))
    (out / "results.md").write_text(report.to_markdown(machine.describe(), blocks, comparison))
    (out / "results.svg").write_text(to_svg(blocks))
    if record:
        history.append(history_file, line)
    print(f"\nWritten: {out / 'results.json'}, results.md, results.svg")
