"""Low-res logits -> the image's own pixels, only where they are wanted.

The two bilinear steps of ``Frame.restore`` with the cut between them are one linear map, the same
for each row and each column: a matrix per axis with a narrow band of weights. So any region can be
upscaled alone. Knows frames and logits; no models and no records.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam.core.frame import Frame
from napari_sam.core.native.masks import can_threshold, threshold
from napari_sam.core.regions import Mask, Region, tight_region
from napari_sam.core.threads import share_out

Floats = NDArray[np.float32]
STRIP_PIXELS = 2**17  # of one strip: its logits stay in the processor's cache
LARGE = 2**17  # pixels: from here on, several threads are worth it
PIECES = 2  # of a mask, so that an odd number of masks fits two cores
ROWS, COLUMNS = 128, 256  # of a block whose weights are kept: small ones would cost handovers
BLOCK = 128  # most rows or columns of one dense product: longer ones are mostly zeros


@dataclass(frozen=True, eq=False)
class Band:
    """One axis of the map: pixel i is ``weights[i] @ cells[first[i] : first[i] + taps]``.

    Attributes
    ----------
    first
        (n,) low-res cell where each pixel's weights begin; never decreases.
    weights
        (n, taps) float32, not negative, each row sums to 1.
    """

    first: NDArray[np.intp]
    weights: Floats

    @property
    def taps(self) -> int:
        """Cells that a pixel depends on."""
        return int(self.weights.shape[1])

    def cells(self, pixels: slice) -> slice:
        """The cells that some pixels (at least one) depend on."""
        return slice(int(self.first[pixels.start]), int(self.first[pixels.stop - 1]) + self.taps)

    def pixels(self, cells: slice) -> slice:
        """The pixels that depend on at least one of some cells."""
        start = np.searchsorted(self.first, cells.start - self.taps, side="right")
        stop = np.searchsorted(self.first, cells.stop, side="left")
        return slice(int(start), int(stop))

    def dense(self, pixels: slice) -> Tensor:
        """The map of some pixels from their :meth:`cells`, (pixels, cells)."""
        cells = self.cells(pixels)
        block = np.zeros((pixels.stop - pixels.start, cells.stop - cells.start), np.float32)
        columns = self.first[pixels, None] - cells.start + np.arange(self.taps)
        np.put_along_axis(block, columns, self.weights[pixels], axis=1)
        return torch.from_numpy(block)


def rows(frame: Frame) -> Band:
    """The map along y."""
    return _band(frame.low_res[0], frame.canvas[0], frame.scaled[0], frame.original[0])


def columns(frame: Frame) -> Band:
    """The map along x."""
    return _band(frame.low_res[1], frame.canvas[1], frame.scaled[1], frame.original[1])


def restore_region(frame: Frame, low_res_hw: Floats, region: Region) -> Floats:
    """Logits of a region of the image: what ``Frame.restore`` has there, up to rounding.

    Parameters
    ----------
    frame
        Of the image.
    low_res_hw
        (h, w) low-res logits of one mask.
    region
        Half-open slices along y and x, in pixels of the image.

    Returns
    -------
    numpy.ndarray
        float32, of the region's size.
    """
    height, width = (max(0, side.stop - side.start) for side in region)
    logits = np.empty((height, width), np.float32)
    for strip, values in strips(frame, low_res_hw, region):
        logits[strip] = values
    return logits


def strips(frame: Frame, low_res_hw: Floats, region: Region) -> Iterator[tuple[slice, Floats]]:
    """As :func:`restore_region`, a few rows at a time: (rows within the region, logits)."""
    height, width = (side.stop - side.start for side in region)
    if height <= 0 or width <= 0:
        return
    down, start = rows(frame), region[0].start
    wide = _across(frame, low_res_hw, down.cells(region[0]), region[1])
    top = down.cells(region[0]).start
    step = max(1, min(BLOCK, STRIP_PIXELS // width))
    for y in range(0, height, step):
        strip = slice(y, min(y + step, height))
        pixels = slice(start + strip.start, start + strip.stop)
        cells = down.cells(pixels)
        values = down.dense(pixels) @ wide[cells.start - top : cells.stop - top]
        yield strip, values.numpy()


def region_above(frame: Frame, low_res_hw: Floats, level: float) -> Region:
    """Where the restored logits can be above a level: nowhere else is a pixel above it.

    Each pixel is a weighted mean of its cells, so it is above the level only if one of them is.
    An empty region at the origin if none is.
    """
    above = tight_region(low_res_hw > level)
    if above[0].start == above[0].stop:
        return above
    return (rows(frame).pixels(above[0]), columns(frame).pixels(above[1]))


def restore_mask(frame: Frame, low_res_hw: Floats) -> tuple[Mask, Region]:
    """The object (logits above 0) within its tight region, and that region."""
    loose = region_above(frame, low_res_hw, 0.0)
    size = [side.stop - side.start for side in loose]
    if size[0] * size[1] > LARGE:
        mask = np.empty(size, bool)
        share_out(_threshold_jobs(frame, low_res_hw, loose, mask))
        return trim(mask, loose)
    mask = np.zeros(size, bool)
    for strip, logits in strips(frame, low_res_hw, loose):
        np.greater(logits, 0, out=mask[strip])
    return trim(mask, loose)


def restore_masks(frame: Frame, low_res_Nhw: Floats) -> NDArray[np.bool_]:
    """Several objects at the image's size, (N, H, W): all cores share the work."""
    masks = np.zeros((len(low_res_Nhw), *frame.original), bool)
    jobs = []
    for low_res, mask in zip(low_res_Nhw, masks, strict=True):
        loose = region_above(frame, low_res, 0.0)
        jobs += _threshold_jobs(frame, low_res, loose, mask[loose])
    share_out(jobs)
    return masks


def _threshold_jobs(
    frame: Frame, low_res_hw: Floats, region: Region, out: Mask
) -> list[Callable[[], None]]:
    """Jobs that write which logits of a region are above 0, some rows of it each."""
    if not out.size:
        return []
    rows, columns = region
    step = max(BLOCK, -(-(rows.stop - rows.start) // PIECES))
    return [
        partial(
            _threshold,
            frame,
            low_res_hw,
            (slice(y, min(y + step, rows.stop)), columns),
            out[y - rows.start : y - rows.start + step],
        )
        for y in range(rows.start, rows.stop, step)
    ]


def _threshold(frame: Frame, low_res_hw: Floats, region: Region, out: Mask) -> None:
    """Which logits of a region are above 0; for a thread that computes alone.

    As :func:`strips`, with weights that are kept and few, large steps.
    """
    if can_threshold():
        threshold(low_res_hw, rows(frame), columns(frame), region, out)
        return
    blocks = [
        block
        for block in _blocks(rows(frame), ROWS)
        if block.pixels.stop > region[0].start and block.pixels.start < region[0].stop
    ]
    cells = slice(blocks[0].cells.start, blocks[-1].cells.stop)
    wide = _all_across(frame, low_res_hw, cells)[:, region[1]]
    buffer = torch.empty(ROWS, wide.shape[1])
    for block in blocks:
        start = max(block.pixels.start, region[0].start)
        stop = min(block.pixels.stop, region[0].stop)
        weights = block.weights[start - block.pixels.start : stop - block.pixels.start]
        around = wide[block.cells.start - cells.start : block.cells.stop - cells.start]
        logits = torch.mm(weights, around, out=buffer[: stop - start])
        into = out[start - region[0].start : stop - region[0].start]
        np.greater(logits.numpy(), 0, out=into)


@dataclass(frozen=True, eq=False)
class Block:
    """Some pixels of the map along an axis: ``weights`` (pixels, cells)."""

    pixels: slice
    cells: slice
    weights: Tensor


@lru_cache(maxsize=16)
def _blocks(band: Band, size: int) -> tuple[Block, ...]:
    count = len(band.first)
    parts = (slice(i, min(i + size, count)) for i in range(0, count, size))
    return tuple(Block(part, band.cells(part), band.dense(part)) for part in parts)


def trim(mask: Mask, region: Region) -> tuple[Mask, Region]:
    """A mask of a region, cut to the object in it. An empty mask keeps the region's corner."""
    inner = tight_region(mask)
    shifted = tuple(
        slice(part.start + whole.start, part.stop + whole.start)
        for part, whole in zip(inner, region, strict=True)
    )
    return mask[inner], (shifted[0], shifted[1])


def _across(frame: Frame, low_res_hw: Floats, cells: slice, pixels: slice) -> Tensor:
    """Rows of cells, upscaled along x only: (cells, pixels)."""
    band = columns(frame)
    # A copy: torch refuses arrays that may not be written, and wants one block of memory.
    low = torch.from_numpy(np.array(low_res_hw[cells], np.float32))
    wide = torch.empty((len(low), pixels.stop - pixels.start))
    for x in range(pixels.start, pixels.stop, BLOCK):
        part = slice(x, min(x + BLOCK, pixels.stop))
        into = wide[:, part.start - pixels.start : part.stop - pixels.start]
        torch.mm(low[:, band.cells(part)], band.dense(part).T, out=into)
    return wide


def _all_across(frame: Frame, low_res_hw: Floats, cells: slice) -> Tensor:
    """Rows of cells, upscaled along x: (cells, width of the image)."""
    low = torch.from_numpy(np.array(low_res_hw[cells], np.float32))
    wide = torch.empty((len(low), frame.original[1]))
    for block in _blocks(columns(frame), COLUMNS):
        torch.mm(low[:, block.cells], block.weights.t(), out=wide[:, block.pixels])
    return wide


@lru_cache(maxsize=64)
def _band(low: int, canvas: int, scaled: int, original: int) -> Band:
    """Compose original <- scaled (cut out of the canvas) <- low-res."""
    near, far, share = _bilinear(scaled, original)
    first_cell, last_cell, cell_share = _bilinear(low, canvas)
    cells = np.stack([first_cell[near], last_cell[near], first_cell[far], last_cell[far]], 1)
    by_cell = [1 - cell_share[near], cell_share[near], 1 - cell_share[far], cell_share[far]]
    weights = np.stack([by_cell[0] * (1 - share), by_cell[1] * (1 - share),
                        by_cell[2] * share, by_cell[3] * share], 1)  # fmt: skip
    taps = int((cells[:, 3] - cells[:, 0]).max()) + 1
    first = np.minimum(cells[:, 0], low - taps)
    banded = np.zeros((original, taps), np.float32)
    np.add.at(banded, (np.arange(original)[:, None], cells - first[:, None]), weights)
    first.flags.writeable = banded.flags.writeable = False
    return Band(first, banded)


def _bilinear(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Two source cells of each target pixel, and the second one's weight.

    In single precision, as ``F.interpolate`` computes it: on long sides its rounding shows.
    """
    scale = np.float32(source) / np.float32(target)
    places = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    places = np.maximum(places, np.float32(0))
    near = np.minimum(places.astype(np.intp), source - 1)
    far = np.minimum(near + 1, source - 1)
    return near, far, (places - near).astype(np.float32)
