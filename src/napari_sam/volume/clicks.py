"""Prompts on a plane that is cut into tiles -> masks that no tile cuts.

An object is looked at in the tile that has its prompt in the middle. What reaches an edge of that
tile is looked at again in a crop around the prompt, and in larger ones as long as they cut it.
Where tiles are smaller than what the model can see at once, all that crosses a seam is looked at
again, so its mask is the one that it would have without tiles. Knows no file.
"""

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Mask, Region, Size, shift
from napari_sam.core.strokes import Sketch
from napari_sam.errors import PromptError
from napari_sam.progress import Progress
from napari_sam.volume.crops import (
    LARGEST_CROP,
    Extent,
    central_tile,
    crop_around,
    extent_of,
    is_cut,
)
from napari_sam.volume.embedder import Embedder, as_size
from napari_sam.volume.image import Plane
from napari_sam.volume.tiles import Tile

if TYPE_CHECKING:
    from napari_sam.core.frame import Frame
    from napari_sam.core.predictor import MaskPrediction

__all__ = ["Answer", "solve"]

MOST_LOOKS = 4  # a tile, then crops of 1, 2 and 4 tiles a side
AT_ONCE = 64  # objects


@dataclass(frozen=True, eq=False)
class Answer:
    """Masks of one object.

    Attributes
    ----------
    prediction, index
        What the model said, and which of its objects this is.
    region
        What it looked at: slices along y and x in pixels of the prompts.
    whole
        Whether no edge of what it looked at cuts the mask.
    """

    prediction: "MaskPrediction"
    index: int
    region: Region
    whole: bool

    @property
    def scores(self) -> NDArray[np.float32]:
        """Predicted IoU of each candidate."""
        return np.asarray(self.prediction.scores[self.index])

    def patch(self, candidate: int | None = None) -> tuple[Mask, Region]:
        """As :meth:`MaskPrediction.patch`, in pixels of the prompts."""
        mask, part = self.prediction.patch(self.index, candidate)
        return mask, shift(part, (self.region[0].start, self.region[1].start))


@dataclass(frozen=True)
class _Look:
    """Where to look for an object: a tile, or any part of the plane (pixels of the tiles)."""

    tile: Tile | None
    region: Region

    @property
    def key(self) -> tuple[int, ...]:
        rows, columns = self.region
        number = -1 if self.tile is None else self.tile.index
        return (number, rows.start, rows.stop, columns.start, columns.stop)


def solve(
    embedder: Embedder,
    plane: Plane,
    prompts: Prompts,
    *,
    multimask: bool,
    zoom: tuple[float, float] = (1.0, 1.0),
    sketches: Sequence[Sketch] = (),
    again: bool = True,
) -> Generator[Progress, None, list[Answer]]:
    """Find the masks of prompts on a plane. A job: closing it gives up between two looks.

    Parameters
    ----------
    embedder
        Looks at tiles and crops.
    plane
        (t, z).
    prompts
        B objects in pixels of the finest level.
    multimask
        Three candidates an object, or one.
    zoom
        Pixels of the finest level for each pixel of the embedder's image, along y and x.
    sketches
        A mask prompt for each object, in the same pixels as the prompts; or none.
    again
        Whether what a tile cuts is looked at again; False is what a naive program does.

    Returns
    -------
    list of Answer
        One for each object.

    Raises
    ------
    PromptError
        A prompt is outside, or too large.
    NapariSamError
        From reading or encoding.
    """
    asked = _Asked(prompts, tuple(sketches), multimask)
    extents = [_in_tiles(asked.extent(i), zoom) for i in range(prompts.n_objects)]
    looks = dict(enumerate(_first(embedder, plane, extent) for extent in extents))
    answers: dict[int, Answer] = {}
    for number in range(MOST_LOOKS):
        step = Progress(number, MOST_LOOKS, _SAYS[min(number, 1)])
        found = yield from _decode(embedder, plane, asked, looks, zoom, step)
        answers |= found
        if not again:
            break
        cut = [
            i
            for i, answer in found.items()
            if not answer.whole or _crosses(embedder, answer, looks[i], zoom)
        ]
        looks = {
            i: _wider(embedder, looks[i], extents[i], _reached(answers[i], extents[i], zoom))
            for i in cut
            if _growing(looks[i])
        }
        if not looks:
            break
    return [answers[i] for i in range(prompts.n_objects)]


_SAYS = ("The model looks at the tile, once ...", "The object crosses tiles: looking around it ...")


def _first(embedder: Embedder, plane: Plane, extent: Extent) -> _Look:
    tile = central_tile(embedder.grid, plane, extent)
    if tile is not None:
        return _Look(tile, tile.read)
    return _Look(None, _around(embedder, extent, 1))


def _around(embedder: Embedder, extent: Extent, times: int) -> Region:
    return crop_around(extent, _view(embedder), embedder.plane_size, times=times)


def _view(embedder: Embedder) -> Size:
    """(height, width) of a crop: a tile, or more where the model sees more in its own pixels."""
    height, width = embedder.grid.read_size
    seen = getattr(embedder.job.model.load(), "spec", None)
    most = 0 if seen is None else int(seen.image_size)
    return (max(height, most), max(width, most))


def _crosses(embedder: Embedder, answer: Answer, look: _Look, zoom: tuple[float, float]) -> bool:
    """Whether an object seen in a tile leaves its write region, and a crop would show more."""
    sizes = zip(_view(embedder), embedder.plane_size, embedder.grid.read_size, strict=True)
    if look.tile is None or all(min(view, length) <= read for view, length, read in sizes):
        return False
    (y, x), write = answer.patch()[1], _zoomed(look.tile.write, zoom)
    inside = all(
        w.start <= p.start and p.stop <= w.stop for p, w in zip((y, x), write, strict=True)
    )
    return not inside


def _reached(answer: Answer, extent: Extent, zoom: tuple[float, float]) -> Extent:
    """How far the object goes, as far as is known: prompt and mask, in pixels of the tiles."""
    _, (rows, columns) = answer.patch()
    found = Extent(rows.start, columns.start, rows.stop - 1, columns.stop - 1)
    low, high = (np.array(_in_tiles(found, zoom)).reshape(2, 2)[i] for i in (0, 1))
    ends = [np.minimum(low, extent[:2]), np.maximum(high, extent[2:])]
    return Extent(*(float(v) for end in ends for v in end))


def _wider(embedder: Embedder, before: _Look, extent: Extent, reached: Extent) -> _Look:
    """A crop around the prompt; after that, one twice as large around all that is known."""
    if before.tile is not None:
        return _Look(None, _around(embedder, extent, 1))
    side = before.region[0].stop - before.region[0].start
    other = before.region[1].stop - before.region[1].start
    size = _view(embedder)
    times = 2 * max(1, side // size[0], other // size[1])
    return _Look(None, _around(embedder, reached, times))


def _growing(look: _Look) -> bool:
    """Whether there is more to see; a crop of the largest size stays."""
    side: int = max(part.stop - part.start for part in look.region)
    return 2 * side <= LARGEST_CROP


def _decode(
    embedder: Embedder,
    plane: Plane,
    asked: "_Asked",
    looks: dict[int, _Look],
    zoom: tuple[float, float],
    step: Progress,
) -> Generator[Progress, None, dict[int, Answer]]:
    """Ask the model about objects, those in one place together."""
    predictor = embedder.job.model.load()
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, look in looks.items():
        places[look.key].append(index)
    found: dict[int, Answer] = {}
    whole_plane = _zoomed_size(embedder.plane_size, zoom)
    for indices in places.values():
        look = looks[indices[0]]
        yield step
        seen = embedder.tile(look.tile) if look.tile else embedder.crop(plane, look.region)
        region = _zoomed(look.region, zoom)
        size = (region[0].stop - region[0].start, region[1].stop - region[1].start)
        embedding = as_size(seen, size)
        for start in range(0, len(indices), AT_ONCE):
            some = indices[start : start + AT_ONCE]
            local = asked.local(some, region, embedding.frame)
            prediction = predictor.decode(embedding, local, multimask=asked.multimask)
            for place, index in enumerate(some):
                answer = Answer(prediction, place, region, whole=True)
                _, part = answer.patch()
                found[index] = replace(answer, whole=not is_cut(part, region, whole_plane))
    return found


@dataclass(frozen=True, eq=False)
class _Asked:
    """All that is asked of the model, in pixels of the plane."""

    prompts: Prompts
    sketches: tuple[Sketch, ...]
    multimask: bool

    def extent(self, index: int) -> Extent:
        """What an object is known to reach."""
        return extent_of(self.prompts, index, self.sketches[index] if self.sketches else None)

    def local(self, indices: Sequence[int], region: Region, frame: "Frame") -> Prompts:
        """Some of the objects in pixels of a region; points beside it fall away."""
        prompts, rows = self.prompts, list(indices)
        if prompts.mask_logits is not None:
            raise PromptError("in tiles a mask prompt is given as a sketch, not as logits.")
        first = (region[0].start, region[1].start)
        corner = np.array(first, np.float32)
        size = np.array([part.stop - part.start for part in region], np.float32)
        given: dict[str, NDArray[Any]] = {}
        if prompts.points is not None and prompts.point_labels is not None:
            points = prompts.points[rows] - corner
            outside = np.any((points < -0.5) | (points > size - 0.5), -1)
            given["points"] = np.where(outside[..., None], 0, points)
            given["point_labels"] = np.where(outside, -1, prompts.point_labels[rows])
        if prompts.boxes is not None:
            given["boxes"] = prompts.boxes[rows] - np.tile(corner, 2)
        if self.sketches:
            drawn = [self.sketches[row].moved(*first).logits(frame) for row in rows]
            given["mask_logits"] = np.stack(drawn)
        return Prompts(**given)


def _in_tiles(extent: Extent, zoom: tuple[float, float]) -> Extent:
    """Positions of the finest level in pixels of the tiles."""
    y, x = zoom
    low = ((extent.y0 + 0.5) / y - 0.5, (extent.x0 + 0.5) / x - 0.5)
    high = ((extent.y1 + 0.5) / y - 0.5, (extent.x1 + 0.5) / x - 0.5)
    return Extent(*low, *high)


def _zoomed(region: Region, zoom: tuple[float, float]) -> Region:
    rows, columns = (
        slice(round(part.start * factor), round(part.stop * factor))
        for part, factor in zip(region, zoom, strict=True)
    )
    return (rows, columns)


def _zoomed_size(size: tuple[int, int], zoom: tuple[float, float]) -> tuple[int, int]:
    return (round(size[0] * zoom[0]), round(size[1] * zoom[1]))
