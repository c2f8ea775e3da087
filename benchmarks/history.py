"""Ratios of earlier runs, one JSON line each, and what has changed since the last one.

Times of different days cannot be compared, ratios within a block can, on machines of one kind.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.timing import Block, summarise

NOTABLE = 0.1
"""A ratio that has changed by more than this share is pointed out."""


@dataclass(frozen=True)
class Line:
    """One recorded run.

    Attributes
    ----------
    date, commit
        When, and of what.
    machine
        Kind of machine: only lines with the same are compared.
    ratios
        Block and contender to how many times faster than the block's base.
    busy
        Names among them whose block had too few quiet samples.
    """

    date: str
    commit: str
    machine: str
    ratios: dict[str, float]
    busy: tuple[str, ...] = ()


def make_line(machine: Machine, blocks: Iterable[Block], *, date: datetime) -> Line:
    """The ratios of a run."""
    ratios, busy = {}, []
    for block in blocks:
        for contender, summary in summarise(block).items():
            if contender == block.base or summary.speedup is None:
                continue
            name = f"{block.name}: {contender}"
            ratios[name] = round(summary.speedup, 4)
            if not summary.only_quiet:
                busy.append(name)
    day = date.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Line(day, machine.commit, machine.kind, ratios, tuple(busy))


def read(path: Path) -> list[Line]:
    """All lines, the oldest first; none if there is no file."""
    if not path.is_file():
        return []
    lines = (json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text)
    return [Line(**line | {"busy": tuple(line["busy"])}) for line in lines]


def append(path: Path, line: Line) -> None:
    """Add a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")


def compare(lines: Sequence[Line], now: Line) -> list[str]:
    """What a reader should know of the last line of the same kind of machine, as sentences."""
    before = next((line for line in reversed(lines) if line.machine == now.machine), None)
    if before is None:
        return ["No earlier run on this kind of machine is recorded."]
    common = [name for name in now.ratios if name in before.ratios]
    said = [f"Compared with {before.date}, commit {before.commit}: {len(common)} ratios in common."]
    for name in common:
        change = now.ratios[name] / before.ratios[name] - 1
        mark = "" if abs(change) <= NOTABLE else (" FASTER" if change > 0 else " SLOWER")
        busy = " (busy machine)" if name in (*now.busy, *before.busy) else ""
        said.append(
            f"{name}: {before.ratios[name]:.2f} x -> {now.ratios[name]:.2f} x"
            f" ({100 * change:+.0f} %){mark}{busy}"
        )
    return said
