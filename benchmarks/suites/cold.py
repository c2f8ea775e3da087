"""From the start of a Python process to the first mask; then on a new image; then later clicks.

Every sample is a fresh process; the files may be in the system's cache. Imports nothing heavy
itself, because that would be part of what it measures.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import STARTED, ChildFailed, ask
from benchmarks.settings import SMALL, Settings
from benchmarks.timing import Agreement, Block, Measured

PARTS = ("imports", "model", "image", "click")
NEW_IMAGE = "new image + click"
LATER = "later click"
LATER_P95 = "later click p95"
LATER_CLICKS = 20
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
    from benchmarks.machine import NeighbourMeter
    from benchmarks.suites.rows import base_of, make_rows
    from benchmarks.timing import take_turns

    _write_inputs(settings, model, side)
    skipped = _absent(settings, model)
    answers: dict[str, list[dict[str, float]]] = {}
    calls: dict[str, Callable[[], Measured]] = {}
    for name in settings.contenders:
        if name in skipped:
            continue
        try:
            ask(settings, "cold", "measure", model, name)  # brings the files to the cache
        except ChildFailed as failure:
            skipped[name] = str(failure)
        else:
            calls[name] = partial(_ask, answers, settings, model, name)
    samples = take_turns(
        calls, rounds=settings.rounds, meter=NeighbourMeter(), report=settings.tell
    )
    base = base_of(calls)
    return Block(
        "cold",
        f"{model} {side} x {side}",
        base,
        make_rows(
            settings.contenders,
            skipped=skipped,
            samples=samples,
            extras={name: _parts(answers[name]) for name in calls},
            agreements=_agreements(settings, base, calls),
        ),
        note="Seconds from the start of a process to the best mask of one click, at full size; its"
        " parts; then a new image in the same process, and more clicks on it.",
    )


def _write_inputs(settings: Settings, model: str, side: int) -> None:
    import numpy as np

    from benchmarks import scenes
    from benchmarks.models import weights_file

    settings.folder.mkdir(parents=True, exist_ok=True)
    weights_file(model, settings.folder)
    np.save(picture_file(settings), scenes.picture((side, side)))


def _absent(settings: Settings, model: str) -> dict[str, str]:
    """Contenders that do not take part, and why."""
    from benchmarks.models import official_package
    from tests.parity.peers import available

    reason = "is not started by people on its own"
    skipped = {name: reason for name in settings.contenders if name not in CONTENDERS}
    package = official_package(model)
    if package is None:
        skipped["official"] = "has no such model"
    elif not available(package):
        skipped["official"] = f"{package} is not installed"
    return skipped


def _parts(answers: list[dict[str, float]]) -> dict[str, str]:
    """Median of each part, by title."""
    return {
        f"{part} s": f"{median(answer[part] for answer in answers):.2f}"
        for part in (*PARTS, NEW_IMAGE)
    } | {
        f"{part} ms": f"{1000 * median(answer[part] for answer in answers):.0f}"
        for part in (LATER, LATER_P95)
    }


def _agreements(settings: Settings, base: str, names: Iterable[str]) -> dict[str, Agreement]:
    import numpy as np

    from benchmarks.agreement import PackedMask, of_mask_lists

    masks = {name: [PackedMask(np.load(mask_file(settings, name)))] for name in names}
    return {name: of_mask_lists(masks[base], masks[name]) for name in masks if name != base}


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
    mask = click()
    marks.append(time.time())
    look(picture[::-1].copy())
    click()
    end = time.time()
    later = sorted(_seconds_of(click) for _ in range(LATER_CLICKS))
    _keep_mask(settings, name, mask)
    parts = dict(zip(PARTS, (after - before for before, after in pairwise(marks)), strict=True))
    return parts | {
        NEW_IMAGE: end - marks[-1],
        LATER: median(later),
        LATER_P95: later[int(0.95 * LATER_CLICKS)],
    }


def _seconds_of(click: Callable[[], object]) -> float:
    before = time.perf_counter()
    click()
    return time.perf_counter() - before


def mask_file(settings: Settings, name: str) -> Path:
    """Where a child leaves its first mask, eight pixels a byte."""
    return settings.folder / f"cold {name}.npy"


def _keep_mask(settings: Settings, name: str, mask: Any) -> None:
    import numpy as np

    np.save(mask_file(settings, name), np.packbits(mask))


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
