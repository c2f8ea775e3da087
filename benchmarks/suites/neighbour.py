"""A click and automatic masks while another process takes one core, beside the same without.

Each contender runs in a fresh process, so that it has the thread policy that it sets itself: ours
sets passive waiting when it is imported, before torch; the official code leaves OpenMP's default.
"""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from benchmarks.child import ChildFailed, ask
from benchmarks.settings import Settings
from benchmarks.timing import Block, Row, Sample, summarise

CONTENDERS = ("official", "ours exact", "ours fast")
QUIET, BUSY = "alone", "one core taken"
NOTE = "Turns alone and beside a process that never rests; its core does not count as others'."
LEAST_POINTS = 4  # a side of the grid: a turn is long enough to be judged, short enough to wait for


def run(settings: Settings) -> Iterator[Block]:
    """Two blocks for each model and contender: alone is the base."""
    for model in settings.models:
        for name in settings.contenders:
            if name not in CONTENDERS:
                continue
            try:
                answer = ask(settings, "neighbour", "measure", model, name)
            except ChildFailed as failure:
                yield Block(
                    "neighbour", f"{model} {name}", QUIET, (Row(QUIET, skipped=str(failure)),)
                )
                continue
            for what, states in answer.items():
                yield _block(f"{model} {name}: {what}", states)


def _block(case: str, states: dict[str, list[list[float | None]]]) -> Block:
    rows = tuple(
        Row(state, samples=tuple(Sample(seconds or 0.0, others) for seconds, others in part))
        for state, part in states.items()
    )
    block = Block("neighbour", case, QUIET, rows, note=NOTE)
    figures = summarise(block)
    alone = figures[QUIET]
    slower = {
        state: {"p50 slower": each.p50 / alone.p50, "p95 slower": each.p95 / alone.p95}
        for state, each in figures.items()
    }
    rows = tuple(replace(row, extra=slower[row.contender]) for row in rows)
    return replace(block, rows=rows)


def measure(
    settings: Settings, model: str, name: str
) -> dict[str, dict[str, list[list[float | None]]]]:
    """In a fresh process: work -> state -> (seconds, cores of others)."""
    # First of all, because OpenMP reads its policy when torch is imported.
    importlib.import_module("torch" if name == "official" else "napari_sam.core.predictor")
    from benchmarks import scenes
    from benchmarks.lineup import build
    from benchmarks.machine import NeighbourMeter
    from benchmarks.suites.automatic import make_generator
    from benchmarks.suites.click import next_click, spots
    from benchmarks.timing import Stopwatch, take_turns

    contender = build(name, model, "automatic", settings.folder)
    picture = scenes.picture(settings.picture_size)
    contender.look_at(picture)
    side = max(LEAST_POINTS, settings.points // 4)
    watch = Stopwatch()
    answer: dict[str, dict[str, list[list[float | None]]]] = {}
    with ExitStack() as stack:
        generate = make_generator(contender, watch, stack)
        work: dict[str, tuple[Callable[[], object], int]] = {
            "click": (next_click(contender, spots(settings)), 10),
            f"automatic, {side} x {side} points": (lambda: generate(picture, side, 0), 1),
        }
        for what, (call, repeats) in work.items():
            call()
            answer[what] = {QUIET: [], BUSY: []}
            for _ in range(settings.long_rounds):
                for state, taken in ((QUIET, 0), (BUSY, 1)):
                    with burner(taken):
                        samples = take_turns(
                            {what: call},
                            rounds=1,
                            repeats=repeats,
                            least_seconds=settings.turn_seconds,
                            meter=NeighbourMeter(expected=taken),
                            watches={what: watch},
                        )
                    answer[what][state] += [[s.seconds, s.others] for s in samples[what]]
    return answer


@contextmanager
def burner(count: int) -> Iterator[None]:
    """Processes that never rest, while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
