"""Many prompts of one image at once: 64 points of a grid, 16 boxes."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks import agreement, scenes
from benchmarks.contenders import Answer
from benchmarks.lineup import build_all
from benchmarks.settings import Settings
from benchmarks.suites.rows import agreements_with, base_of, make_rows, take_settled_turns
from benchmarks.timing import Block

Call = Callable[[], Answer]


def run(settings: Settings) -> Iterator[Block]:
    """Two blocks for each model."""
    picture = scenes.picture(settings.picture_size)
    for model in settings.models:
        ready, skipped = build_all(
            settings.contenders, model, "batch", settings.folder, picture=picture
        )
        points, boxes = _points(settings), _boxes(settings)
        with_points = {name: partial(each.points, points) for name, each in ready.items()}
        yield _block(settings, f"{model} {len(points)} points", with_points, skipped)
        with_boxes = {name: partial(each.boxes, boxes) for name, each in ready.items()}
        yield _block(settings, f"{model} {len(boxes)} boxes", with_boxes, skipped)


def _block(
    settings: Settings, case: str, calls: Mapping[str, Call], skipped: dict[str, str]
) -> Block:
    answers = {name: [call()] for name, call in calls.items()}
    samples = take_settled_turns(settings, calls)
    base = base_of(calls)
    return Block(
        "batch",
        case,
        base,
        make_rows(
            settings.contenders,
            skipped=skipped,
            samples=samples,
            agreements=agreements_with(base, answers, agreement.of_answers),
        ),
        note="Points: 3 low-res masks each, as a step of the automatic generator. Boxes: one mask"
        " each, at full size.",
    )


def _points(settings: Settings) -> NDArray[np.float64]:
    """A grid of 64 points (4 in a quick run)."""
    marks = np.linspace(0.06, 0.94, 2 if settings.quick else 8)
    grid = np.stack(np.meshgrid(marks, marks, indexing="ij"), -1).reshape(-1, 2)
    return np.asarray(grid * settings.picture_size)


def _boxes(settings: Settings) -> NDArray[np.float64]:
    """16 boxes of different sizes."""
    random = np.random.RandomState(4)
    centres, halves = random.uniform(0.2, 0.8, (16, 2)), random.uniform(0.03, 0.15, (16, 2))
    corners = np.concatenate([centres - halves, centres + halves], 1)
    return np.asarray(corners * np.tile(settings.picture_size, 2))
