"""Blocks -> JSON and Markdown. Knows no clocks and no models."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.timing import CLOCK_S, QUIET_CORES, Block, Row, Summary, summarise

LEGEND = (
    "Times are medians of the quiet samples, if every contender of a block has one; else of all"
    " samples (marked *busy*). A sample is quiet if other processes used at most"
    f" {QUIET_CORES} cores meanwhile; of turns shorter than {CLOCK_S} s nobody can tell. *x base*"
    " is the base's median over this one: above 1 is faster. Compare within a block only: its"
    " contenders took turns. Peak is memory over that of the loaded model, in a fresh process."
)


def to_json(machine: dict[str, Any], blocks: Iterable[Block]) -> str:
    """All samples and all figures."""
    content = [
        asdict(block) | {"summary": {n: asdict(s) for n, s in summarise(block).items()}}
        for block in blocks
    ]
    return json.dumps({"machine": machine, "blocks": content}, indent=1) + "\n"


def to_markdown(machine: str, blocks: Iterable[Block], comparison: Sequence[str] = ()) -> str:
    """A table for each block."""
    parts = ["# Benchmark", machine, LEGEND]
    for block in blocks:
        parts += [f"## {block.name}", *([block.note] if block.note else []), table(block)]
    if comparison:
        parts += ["## Since the last recorded run", "\n".join(f"- {line}" for line in comparison)]
    return "\n\n".join(parts) + "\n"


def table(block: Block) -> str:
    """One block as a Markdown table."""
    summaries = summarise(block)
    extras = list(dict.fromkeys(title for row in block.rows for title in row.extra))
    titles = [
        "", "p50", "p95", f"x {block.base}", "quiet", "peak MB", *extras, f"against {block.base}"
    ]  # fmt: skip
    lines = [titles, ["---", *["--:"] * (len(titles) - 2), "---"]]
    for row in block.rows:
        lines.append(_cells(row, summaries.get(row.contender), extras, block.base))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row, summary: Summary | None, extras: Sequence[str], base: str) -> list[str]:
    if row.skipped:
        return [row.contender, *["-"] * (5 + len(extras)), f"skipped: {row.skipped}"]
    times = ["-"] * 4
    if summary:
        busy = "" if summary.only_quiet else " *busy*"
        speedup = "-" if summary.speedup is None else f"{summary.speedup:.2f}"
        quiet = f"{summary.n_quiet} of {summary.n}{busy}"
        times = [seconds(summary.p50), seconds(summary.p95), speedup, quiet]
    agreement = row.agreement.text if row.agreement else ("base" if row.contender == base else "-")
    return [
        row.contender,
        *times,
        "-" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        *(_cell(row.extra.get(title, "-")) for title in extras),
        agreement,
    ]


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def seconds(value: float) -> str:
    """Seconds with three digits, as ms below one second."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
