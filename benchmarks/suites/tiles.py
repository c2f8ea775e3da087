"""Tiles a minute on 8192 x 8192 pixels of 16 bit: from a sample of tiles, extrapolated."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from math import ceil

import numpy as np
from numpy.typing import NDArray

import napari_sam
from benchmarks import agreement, scenes
from benchmarks.contenders import Contender
from benchmarks.lineup import build_all
from benchmarks.settings import Settings
from benchmarks.suites.rows import agreements_with, base_of, make_rows, take_settled_turns
from benchmarks.timing import Block, summarise

OVERLAP_SHARE = 1 / 8
RANGE = (0.0, 40_000.0)
"""Intensity range of the whole image, known before the first tile."""


def run(settings: Settings) -> Iterator[Block]:
    """One block for each model."""
    side, tile = (1024, 128) if settings.quick else (8192, 1024)
    image = _image(side)
    corners = _corners(side, tile)
    for model in settings.models:
        ready, skipped = build_all(settings.contenders, model, "encode", settings.folder)
        calls = {
            name: _next_tile(contender, image, corners, tile) for name, contender in ready.items()
        }
        answers = {name: call() for name, call in calls.items()}  # warms up
        samples = take_settled_turns(settings, calls)
        case = f"{model} {side} x {side}, tiles of {tile}"
        base = base_of(ready)
        agreements = agreements_with(base, answers, agreement.of_embeddings)
        rows = make_rows(
            settings.contenders, skipped=skipped, samples=samples, agreements=agreements
        )
        block = Block("tiles", case, base, rows)
        yield _with_rates(block, len(corners), settings.rounds)


def _with_rates(block: Block, n_tiles: int, n_sampled: int) -> Block:
    """Add tiles a minute, and the time of the whole image."""
    summaries = summarise(block)
    rows = tuple(
        replace(
            row,
            extra={
                "tiles a minute": 60 / summaries[row.contender].p50,
                "whole image, min": n_tiles * summaries[row.contender].p50 / 60,
            }
            if row.contender in summaries
            else {},
        )
        for row in block.rows
    )
    note = (
        f"Cut, brought to 8 bit and encoded, from memory to memory. Extrapolated from {n_sampled}"
        f" of {n_tiles} tiles (overlap 1/8) for each contender: nobody ran the whole image."
    )
    return replace(block, rows=rows, note=note)


def _image(side: int) -> NDArray[np.uint16]:
    """Nuclei repeated, with a brightness that rises along both axes."""
    piece = scenes.picture((512, 512))[..., 0].astype(np.float32)
    whole = np.tile(piece, (ceil(side / 512), ceil(side / 512)))[:side, :side]
    ramp = np.linspace(50, 150, side, dtype=np.float32)
    return np.asarray(whole * np.sqrt(ramp[:, None] * ramp), np.uint16)


def _corners(side: int, tile: int) -> list[tuple[int, int]]:
    """Upper left corners of all tiles; the last ones are moved inwards to be square and whole."""
    step = int(tile * (1 - OVERLAP_SHARE))
    starts = [min(i * step, side - tile) for i in range(ceil((side - tile) / step) + 1)]
    return [(y, x) for y in starts for x in starts]


def _next_tile(
    contender: Contender, image: NDArray[np.uint16], corners: list[tuple[int, int]], tile: int
) -> Callable[[], NDArray[np.float32]]:
    remaining = cycle(corners[:: max(1, len(corners) // 7)])

    def call() -> NDArray[np.float32]:
        y, x = next(remaining)
        part = image[y : y + tile, x : x + tile]
        return contender.encode(napari_sam.to_picture(part, intensity=RANGE))

    return call
