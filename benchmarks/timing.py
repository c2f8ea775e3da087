"""Samples of time -> medians, ratios and what may be believed of them.

Pure: clocks come in as arguments. Knows neither models nor machines.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any, Protocol

QUIET_CORES = 0.15
"""Others may use so many cores during a sample that is called quiet."""
CLOCK_S = 0.4
"""Turns shorter than this cannot be judged: /proc/stat counts in steps of 10 ms."""


@dataclass(frozen=True)
class Sample:
    """One timed call.

    Attributes
    ----------
    seconds
        Wall time.
    others
        Cores that other processes used meanwhile; None where nobody could tell.
    """

    seconds: float
    others: float | None = None

    @property
    def quiet(self) -> bool:
        """Whether others left the machine alone. Unknown counts as not quiet."""
        return self.others is not None and self.others <= QUIET_CORES


@dataclass(frozen=True)
class Agreement:
    """How far an answer is from that of the contender it is compared with.

    Attributes
    ----------
    text
        For people, such as ``"equal"`` or ``"max 1e-6 of spread"``.
    numbers
        The same by name.
    """

    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What one contender did in a block.

    Attributes
    ----------
    contender
        Its name.
    samples
        Timed calls; empty for one that was skipped or is not timed.
    skipped
        Why it did not run; empty if it did.
    agreement
        How equal its answers are; None where there is nothing to compare.
    peak_mb
        Memory over that of the loaded model, in MB; None where not measured.
    extra
        Further columns of the suite, by title.
    """

    contender: str
    samples: tuple[Sample, ...] = ()
    skipped: str = ""
    agreement: Agreement | None = None
    peak_mb: float | None = None
    extra: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Contenders that took turns, so that their ratios mean something.

    Attributes
    ----------
    suite, case
        What was measured; together the name of the block.
    base
        Contender with which the others are compared.
    rows
        One for each contender.
    note
        What a reader must know of the numbers.
    """

    suite: str
    case: str
    base: str
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def name(self) -> str:
        """Suite and case."""
        return f"{self.suite} {self.case}"


@dataclass(frozen=True)
class Summary:
    """Figures of a row.

    Attributes
    ----------
    p50, p95, best
        Seconds.
    speedup
        Median of the base over this median: above 1 is faster. None without a base.
    n_quiet, n
        Quiet samples and all; ``only_quiet`` says which of them the figures are of.
    """

    p50: float
    p95: float
    best: float
    speedup: float | None
    n_quiet: int
    n: int
    only_quiet: bool


def summarise(block: Block) -> dict[str, Summary]:
    """Figures by contender, of those that have samples.

    Only quiet samples count if every contender of the block has one; otherwise all samples count
    for everybody, because quiet and disturbed ones must not be compared.
    """
    timed = {row.contender: row.samples for row in block.rows if row.samples}
    only_quiet = bool(timed) and all(any(s.quiet for s in part) for part in timed.values())
    used = {
        name: sorted(s.seconds for s in samples if s.quiet or not only_quiet)
        for name, samples in timed.items()
    }
    base = median(used[block.base]) if block.base in used else None
    return {
        name: Summary(
            p50=median(seconds),
            p95=percentile(seconds, 0.95),
            best=seconds[0],
            speedup=None if base is None else base / median(seconds),
            n_quiet=sum(s.quiet for s in timed[name]),
            n=len(timed[name]),
            only_quiet=only_quiet,
        )
        for name, seconds in used.items()
    }


def percentile(ascending: Sequence[float], share: float) -> float:
    """Smallest value that at least ``share`` of the values do not exceed."""
    return ascending[max(0, ceil(share * len(ascending)) - 1)]


class Meter(Protocol):
    """Tells how busy others were."""

    def start(self) -> Any:
        """Note the counters."""
        ...

    def others(self, started: Any) -> float | None:
        """Cores used by others since then; None if unknown."""
        ...


@dataclass(frozen=True)
class Measured:
    """Answer of a call that has timed itself, in a process of its own, say."""

    seconds: float


class Stopwatch:
    """Wall time of a call, less what is no part of the measured work (see :meth:`pause`)."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._paused = 0.0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What runs inside does not count."""
        before = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - before

    def time(self, call: Callable[[], object]) -> float:
        """Seconds of one call: its own word if it returns :class:`Measured`."""
        self._paused = 0.0
        before = self._clock()
        answer = call()
        after = self._clock()
        return answer.seconds if isinstance(answer, Measured) else after - before - self._paused


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    meter: Meter,
    repeats: int = 1,
    least_seconds: float = 0.0,
    watches: Mapping[str, Stopwatch] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, tuple[Sample, ...]]:
    """Let contenders work round-robin in this process.

    Parameters
    ----------
    calls
        Contender to the call to time. Warm it up before.
    rounds
        Turns of each contender. Every other round goes backwards, so that nobody always follows
        the same neighbour.
    meter
        Judges each turn.
    repeats
        Calls in one turn, at least; all get the turn's judgement.
    least_seconds
        A turn goes on until its calls have taken so long: short turns cannot be judged.
    watches
        Stopwatches of contenders that pause theirs.
    report
        Told of each turn.

    Returns
    -------
    dict
        Contender to its samples, ``rounds * repeats`` or more.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            watch = (watches or {}).get(name) or Stopwatch()
            started = meter.start()
            seconds: list[float] = []
            while len(seconds) < repeats or sum(seconds) < least_seconds:
                seconds.append(watch.time(calls[name]))
            others = meter.others(started)
            samples[name] += [Sample(each, others) for each in seconds]
            report(f"round {number + 1}/{rounds} {name}: {median(seconds):.3f} s")
    return {name: tuple(part) for name, part in samples.items()}
