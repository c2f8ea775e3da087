"""Automatic masks end to end without the encoder: official defaults, 0 and 1 crop layers.

Embeddings are computed before and kept; masks are those of the oracle (``scenes.py``).
"""

import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol, cast

import napari_sam
from benchmarks import agreement, scenes
from benchmarks.agreement import PackedMask
from benchmarks.contenders import Contender, Official, Ours, Picture
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
from benchmarks.timing import Block, Stopwatch
from tests.parity.shims import stand_ins

PEAK_POINTS = 8  # a side: one batch of 64, whose memory does not depend on how many follow


def run(settings: Settings) -> Iterator[Block]:
    """Two blocks for each model."""
    for model in settings.models:
        for crop_layers in (0, 1):
            yield _block(settings, model, crop_layers)


def _block(settings: Settings, model: str, crop_layers: int) -> Block:
    picture = scenes.picture(settings.picture_size)
    ready, skipped = build_all(settings.contenders, model, "automatic", settings.folder)
    watches = {name: Stopwatch() for name in ready}
    found: dict[str, list[PackedMask]] = {}
    with ExitStack() as stack:
        generators = {
            name: make_generator(contender, watches[name], stack)
            for name, contender in ready.items()
        }

        def work(name: str) -> None:
            masks = generators[name](picture, settings.points, crop_layers)
            with watches[name].pause():
                found[name] = masks.packed()

        for generate in generators.values():
            generate(picture, 1, crop_layers)  # encodes all crops, warms up
        samples = take_settled_turns(
            settings,
            {name: partial(work, name) for name in ready},
            rounds=settings.long_rounds,
            watches=watches,
        )
    base, timed = base_of(ready), list(ready)
    ready.clear()  # the fresh processes need the memory
    generators.clear()
    height, width = settings.picture_size
    return Block(
        "automatic",
        f"{model} {height} x {width}, {settings.points} x {settings.points} points,"
        f" {crop_layers} crop layers",
        base,
        make_rows(
            settings.contenders,
            skipped=skipped,
            samples=samples,
            agreements=agreements_with(base, found, agreement.of_mask_lists),
            peaks={} if crop_layers else measure_peaks(settings, "automatic", model, timed),
            extras={name: {"masks": str(len(found[name]))} for name in found},
        ),
        note="Without the encoder. The decoders do all their work; their logits are then replaced"
        f" by those of discs. Peak memory: {PEAK_POINTS} x {PEAK_POINTS} points.",
    )


def peak(settings: Settings, model: str, name: str) -> float | None:
    """In a fresh process: memory of one batch of points over that after encoding, in MB."""
    picture = scenes.picture(settings.picture_size)
    contender = build(name, model, "automatic", settings.folder)
    with ExitStack() as stack:
        generate = make_generator(contender, Stopwatch(), stack)
        generate(picture, 1, 0)
        memory = PeakMemory()
        generate(picture, PEAK_POINTS, 0)
        return memory.rise_mb()


class Masks(Protocol):
    """What a generator found, before it is packed for a comparison."""

    def packed(self) -> list[PackedMask]:
        """All masks in their order."""
        ...


class Generator(Protocol):
    """An automatic generator with an oracle."""

    def __call__(self, picture: Picture, points: int, crop_layers: int) -> Masks:
        """Find everything with a grid of points x points."""
        ...


def make_generator(contender: Contender, watch: Stopwatch, stack: ExitStack) -> Generator:
    """The automatic generator of a contender; the oracle stays until the stack ends."""
    if isinstance(contender, Official):
        return _OfficialGenerator(contender, watch, stack)
    return _OurGenerator(cast(Ours, contender), watch)


class _OfficialGenerator:
    def __init__(self, official: Official, watch: Stopwatch, stack: ExitStack) -> None:
        with stand_ins():
            self._code: Any = importlib.import_module(
                f"{official.package}.automatic_mask_generator"
            )
        self._module = official.module
        self._images = scenes.KeptImages(official.predictor, watch)
        stack.enter_context(scenes.official_oracle(official.module, watch))

    def __call__(self, picture: Picture, points: int, crop_layers: int) -> "_OfficialMasks":
        generator = self._code.SamAutomaticMaskGenerator(
            self._module, points_per_side=points, crop_n_layers=crop_layers
        )
        self._images.serve(generator.predictor)
        return _OfficialMasks(generator.generate(picture))


class _OfficialMasks(list[dict[str, Any]]):
    def packed(self) -> list[PackedMask]:
        return [PackedMask.of(record["segmentation"]) for record in self]


class _OurGenerator:
    def __init__(self, ours: Ours, watch: Stopwatch) -> None:
        # Stands in for a Predictor: has its methods and attributes, is none.
        self._predictor = cast(napari_sam.Predictor, scenes.OurOracle(ours.predictor, watch))

    def __call__(self, picture: Picture, points: int, crop_layers: int) -> "_OurMasks":
        records = napari_sam.segment_everything(
            picture,
            self._predictor,
            intensity="as_is",
            params=napari_sam.AutomaticParams(),
            points_per_side=points,
            crop_n_layers=crop_layers,
        )
        return _OurMasks(records)


class _OurMasks(list[napari_sam.MaskRecord]):
    def packed(self) -> list[PackedMask]:
        return [PackedMask.of(record.mask()) for record in self]
