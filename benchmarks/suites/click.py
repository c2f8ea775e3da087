"""One click on an encoded image: three masks at the image's size."""

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np

from benchmarks import agreement, scenes
from benchmarks.contenders import Answer, Contender
from benchmarks.lineup import build_all
from benchmarks.settings import Settings
from benchmarks.suites.rows import agreements_with, base_of, make_rows, take_settled_turns
from benchmarks.timing import Block

CLICKS_A_TURN = 20
Point = tuple[float, float]


def run(settings: Settings) -> Iterator[Block]:
    """One block for each model."""
    for model in settings.models:
        yield _block(settings, model)


def _block(settings: Settings, model: str) -> Block:
    picture = scenes.picture(settings.picture_size)
    ready, skipped = build_all(
        settings.contenders, model, "click", settings.folder, picture=picture
    )
    places = spots(settings)
    answers = {
        name: [contender.click(each) for each in places[:4]] for name, contender in ready.items()
    }
    samples = take_settled_turns(
        settings,
        {name: next_click(contender, places) for name, contender in ready.items()},
        repeats=2 if settings.quick else CLICKS_A_TURN,
    )
    base = base_of(ready)
    height, width = settings.picture_size
    return Block(
        "click",
        f"{model} to {height} x {width}",
        base,
        make_rows(
            settings.contenders,
            skipped=skipped,
            samples=samples,
            agreements=agreements_with(base, answers, agreement.of_answers),
        ),
        note="1 point, 3 masks at full size; each on its own embedding. Masks of random weights are"
        " noise around 0, the worst case for equal pixels.",
    )


def spots(settings: Settings) -> list[Point]:
    """Eight places to click."""
    random = np.random.RandomState(3)
    return [
        (float(y), float(x)) for y, x in random.uniform(0.1, 0.9, (8, 2)) * settings.picture_size
    ]


def next_click(contender: Contender, places: list[Point]) -> Callable[[], Answer]:
    """A call that clicks on another place each time."""
    remaining = cycle(places)
    return lambda: contender.click(next(remaining))
