"""Image -> embedding, 1024 x 1024 pixels, and the memory that it takes."""

from collections.abc import Iterator
from functools import partial

from benchmarks import agreement, scenes
from benchmarks.contenders import Picture
from benchmarks.lineup import build, build_all
from benchmarks.machine import PeakMemory
from benchmarks.settings import Settings
from benchmarks.suites.rows import (
    agreements_with,
    base_of,
    make_rows,
    measure_peaks,
    take_settled_turns,
)
from benchmarks.timing import Block


def run(settings: Settings) -> Iterator[Block]:
    """One block for each model."""
    for model in settings.models:
        yield _block(settings, model)


def _block(settings: Settings, model: str) -> Block:
    ready, skipped = build_all(settings.contenders, model, "encode", settings.folder)
    picture = _picture(settings)
    answers = {name: contender.encode(picture) for name, contender in ready.items()}  # warms up
    samples = take_settled_turns(
        settings,
        {name: partial(contender.encode, picture) for name, contender in ready.items()},
    )
    base = base_of(ready)
    agreements = agreements_with(base, answers, agreement.of_embeddings)
    timed = list(ready)
    ready.clear()  # the fresh processes need the memory
    return Block(
        "encoder",
        f"{model} {picture.shape[0]} x {picture.shape[1]}",
        base,
        make_rows(
            settings.contenders,
            skipped=skipped,
            samples=samples,
            agreements=agreements,
            peaks=measure_peaks(settings, "encoder", model, timed),
        ),
    )


def peak(settings: Settings, model: str, name: str) -> float | None:
    """In a fresh process: memory of the first encoding over that of the loaded model, in MB."""
    contender = build(name, model, "encode", settings.folder)
    picture = _picture(settings)
    memory = PeakMemory()
    contender.encode(picture)
    return memory.rise_mb()


def _picture(settings: Settings) -> Picture:
    return scenes.picture((128, 128) if settings.quick else (1024, 1024))
