"""From the start of a Python process to the first mask; then the first click on a new image.

Every sample is a fresh process; the files may be in the system's cache. Imports nothing heavy
itself, because that would be part of what it measures.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.child import STARTED, ChildFailed, ask
from benchmarks.settings import SMALL, Settings
from benchmarks.timing import Block, Measured

PARTS = ("imports", "model", "image", "click")
NEW_IMAGE = "new image + click"
REGISTRY_NAMES = {"mobile_sam": "vit_t"}  # of the official packages, where not ours
CONTENDERS = ("official", "ours exact", "ours fast")
"""Those that people start; exported networks come with whatever program holds them."""


def run(settings: Settings) -> Iterator[Block]:
    """Blocks for the models asked for and for the bundled one, two image sizes each."""
    models = settings.models if settings.quick else dict.fromkeys(["tiny", *settings.models])
    for model in models:
        for side in (128,) if settings.quick else (512, 2048):
            yield _block(settings, model, side)


def _block(settings: Settings, model: str, side: int) -> Block:
    import numpy as np

    from benchmarks import scenes
    from benchmarks.machine import NeighbourMeter
    from benchmarks.models import official_package, weights_file
    from benchmarks.suites.rows import base_of, make_rows
    from benchmarks.timing import take_turns
    from tests.parity.peers import available

    weights_file(model, settings.folder)
    np.save(picture_file(settings), scenes.picture((side, side)))
    package = official_package(model)
    skipped = {
        name: "is not started by people on its own"
        for name in settings.contenders
        if name not in CONTENDERS
    }
    if package is None:
        skipped["official"] = "has no such model"
    elif not available(package):
        skipped["official"] = f"{package} is not installed"
    answers: dict[str, list[dict[str, float]]] = {}
    calls: dict[str, Callable[[], Measured]] = {}
    for name in settings.contenders:
        if name in skipped:
            continue
        try:
            ask(settings, "cold", "measure", model, name)  # brings the files to the cache
        except ChildFailed as failure:
            skipped[name] = str(failure)
            continue
        calls[name] = partial(_ask, answers, settings, model, name)
    samples = take_turns(
        calls, rounds=settings.rounds, meter=NeighbourMeter(), report=settings.tell
    )
    extras = {
        name: {
            f"{part} s": f"{np.median([answer[part] for answer in answers[name]]):.2f}"
            for part in (*PARTS, NEW_IMAGE)
        }
        for name in calls
    }
    base = base_of(calls)
    return Block(
        "cold",
        f"{model} {side} x {side}",
        base,
        make_rows(settings.contenders, skipped=skipped, samples=samples, extras=extras),
        note="Seconds from the start of a process to the best mask of one click, at full size; its"
        " parts; then a new image in the same process.",
    )


def _ask(
    answers: dict[str, list[dict[str, float]]], settings: Settings, model: str, name: str
) -> Measured:
    answer = ask(settings, "cold", "measure", model, name)
    answers.setdefault(name, []).append(answer)
    return Measured(sum(answer[part] for part in PARTS))


def picture_file(settings: Settings) -> Path:
    """Where the parent leaves the picture for its children."""
    return settings.folder / "cold.npy"


def measure(settings: Settings, model: str, name: str) -> dict[str, float]:
    """In a fresh process: seconds of each part since the parent started it."""
    marks = [float(os.environ[STARTED])]
    load = _import_official(model) if name == "official" else _import_ours(name)
    marks.append(time.time())
    look, click = load(settings, model)
    marks.append(time.time())
    picture = _read_picture(settings)
    look(picture)
    marks.append(time.time())
    click()
    marks.append(time.time())
    look(picture[::-1].copy())
    click()
    parts = dict(zip(PARTS, (after - before for before, after in pairwise(marks)), strict=True))
    return parts | {NEW_IMAGE: time.time() - marks[-1]}


def _read_picture(settings: Settings) -> Any:
    import numpy as np

    return np.load(picture_file(settings))


Calls = tuple[Callable[[Any], None], Callable[[], object]]


def _import_ours(name: str) -> Callable[[Settings, str], Calls]:
    from napari_sam import Prompts, load_predictor

    precision: Any = name.removeprefix("ours ")

    def load(settings: Settings, model: str) -> Calls:
        weights = None if model == "tiny" else _weights(settings, model)
        predictor = load_predictor(model, weights=weights, device="cpu", precision=precision)
        kept: list[Any] = []

        def look(picture: Any) -> None:
            kept[:] = [predictor.encode(picture, intensity="as_is")]

        def click() -> object:
            height, width = kept[0].frame.original
            prompts = Prompts(points=[[[height / 2, width / 3]]], point_labels=[[1]])
            return predictor.decode(kept[0], prompts).mask(0)

        return look, click

    return load


def _import_official(model: str) -> Callable[[Settings, str], Calls]:
    """The lines that the official README has; its small twin is built by the parity tests."""
    import importlib

    import numpy as np
    import torch

    from tests.parity.shims import stand_ins

    with stand_ins():
        package = "mobile_sam" if model == "mobile_sam" else "segment_anything"
        code: Any = importlib.import_module(package)

    def load(settings: Settings, model: str) -> Calls:
        if model == SMALL:
            from benchmarks.contenders import Official

            predictor = Official(model, settings.folder).predictor
        else:
            build = code.sam_model_registry[REGISTRY_NAMES.get(model, model)]
            with torch.no_grad():
                predictor = code.SamPredictor(build(checkpoint=str(_weights(settings, model))))

        def click() -> object:
            height, width = predictor.original_size
            masks, scores, _ = predictor.predict(
                point_coords=np.array([[width / 3, height / 2]]), point_labels=np.ones(1)
            )
            return masks[scores.argmax()]

        return predictor.set_image, click

    return load


def _weights(settings: Settings, model: str) -> Path:
    """As ``models.weights_file``, which has written it before, without its imports."""
    (path,) = settings.folder.glob(f"{model}-seed*.pth")
    return path
