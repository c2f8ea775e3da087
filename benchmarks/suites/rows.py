"""What the suites share: rows from the parts of a measurement, peaks from fresh processes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from benchmarks.child import ChildFailed, ask
from benchmarks.contenders import OFFICIAL
from benchmarks.machine import NeighbourMeter
from benchmarks.settings import Settings
from benchmarks.timing import Agreement, Row, Sample, take_turns

_Answer = TypeVar("_Answer")


def base_of(ready: Iterable[str]) -> str:
    """Whom the others are compared with: the official code, or ours where it is absent."""
    names = list(ready)
    for wanted in (OFFICIAL, "ours exact"):
        if wanted in names:
            return wanted
    return names[0] if names else OFFICIAL


def make_rows(
    contenders: Sequence[str],
    *,
    skipped: Mapping[str, str],
    samples: Mapping[str, tuple[Sample, ...]],
    agreements: Mapping[str, Agreement] | None = None,
    peaks: Mapping[str, float | None] | None = None,
    extras: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Row, ...]:
    """Rows in the order of the contenders."""
    return tuple(
        Row(
            name,
            samples=samples.get(name, ()),
            skipped=skipped.get(name, ""),
            agreement=(agreements or {}).get(name),
            peak_mb=(peaks or {}).get(name),
            extra=(extras or {}).get(name, {}),
        )
        for name in contenders
    )


def take_settled_turns(
    settings: Settings, calls: Mapping[str, Callable[[], object]], **options: Any
) -> dict[str, tuple[Sample, ...]]:
    """Turns of all contenders as the settings want them; options are those of ``take_turns``."""
    wanted = {"rounds": settings.rounds, "least_seconds": settings.turn_seconds} | options
    return take_turns(calls, meter=NeighbourMeter(), report=settings.tell, **wanted)


def agreements_with(
    base: str, answers: Mapping[str, _Answer], compare: Callable[[_Answer, _Answer], Agreement]
) -> dict[str, Agreement]:
    """How equal each answer is to that of the base."""
    return {name: compare(answers[base], answers[name]) for name in answers if name != base}


def measure_peaks(
    settings: Settings, suite: str, model: str, names: Iterable[str]
) -> dict[str, float | None]:
    """Peak memory of each contender, from ``peak`` of a suite in a fresh process."""
    if not settings.memory:
        return {}
    peaks: dict[str, float | None] = {}
    for name in names:
        try:
            peaks[name] = ask(settings, suite, "peak", model, name)
        except ChildFailed as failure:  # out of memory, say: the times are still worth having
            peaks[name] = None
            settings.tell(f"peak memory not measured: {failure}")
    return peaks
