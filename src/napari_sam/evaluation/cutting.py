"""Labelled pictures cut into tiles, so that tiled answers can be held against whole ones.

Knows packs and tiles; asks no model.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sam.core.registry import DEFAULT_MODEL, ModelSpec
from napari_sam.errors import ModelError
from napari_sam.evaluation.datasets import PLANES, Sample, read_item, select_items
from napari_sam.evaluation.everything import fully_annotated
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.model import PredictorSource
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.tiles import TileGrid

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor

LEAST_SIDE = 780  # pixels: smaller pictures would only be blurred
WHOLE = 1.5  # of what the model sees at once: the side of a whole picture


def pack_parser(command: str, *, most: int | None = None) -> argparse.ArgumentParser:
    """Options of the commands that compare tiled and whole answers on the pictures of a pack."""
    parser = argparse.ArgumentParser(prog=f"python -m napari_sam.evaluation.{command}")
    parser.add_argument("pack", type=Path, help="folder with labelled images and manifest.json")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--dataset", action="append", default=[], help="again for more; else all")
    parser.add_argument(
        "--most", type=int, default=most, help="pictures at most, spread over the pack"
    )
    return parser


def pictures(
    pack: Path,
    side: int,
    *,
    datasets: tuple[str, ...] = (),
    most: int | None = None,
    least_side: int = LEAST_SIDE,
) -> Iterator[Sample]:
    """Pictures whose objects are all labelled, resized so that the long side has ``side`` pixels.

    So the model sees the whole and its tiles at one magnification.
    """
    items = [i for i in select_items(pack, datasets=datasets, axes=PLANES) if fully_annotated(i)]
    large = [item for item in items if max(item["shape"][:2]) >= least_side]
    if most is not None and most < len(large):
        large = [large[i] for i in np.linspace(0, len(large) - 1, most).round().astype(int)]
    for item in large:
        for sample in read_item(pack, item):
            yield _resized(sample, side)


def _resized(sample: Sample, side: int) -> Sample:
    height, width = sample.labels.shape
    size = [round(n * side / max(height, width)) for n in (width, height)]
    picture = Image.fromarray(sample.picture).resize(size, Image.Resampling.BICUBIC)
    labels = Image.fromarray(sample.labels).resize(size, Image.Resampling.NEAREST)
    return replace(sample, picture=np.asarray(picture), labels=np.asarray(labels, np.int32))


def mirrored(sample: Sample, *, side: int, down: bool) -> tuple[Sample, tuple[slice, slice]]:
    """A plane with a picture amid its mirror images, and where it is there.

    The plane is four tiles long, along y (``down``) or x, and the two in the middle meet in the
    picture's middle: so does a user see a seam, with a whole tile on either side. Across it is as
    wide as the picture. Labels are the picture's own; elsewhere nothing is labelled.
    """
    axis = 0 if down else 1
    length = sample.labels.shape[axis]
    before = 2 * side - length // 2
    margins = [(0, 0), (0, 0)]
    margins[axis] = (before, 4 * side - before - length)
    picture = np.pad(sample.picture, [*margins, (0, 0)], mode="symmetric")
    region = [slice(0, n) for n in sample.labels.shape]
    region[axis] = slice(before, before + length)
    labels = np.pad(sample.labels, margins)
    return replace(sample, picture=picture, labels=labels), (region[0], region[1])


def cut(sample: Sample, model: PredictorSource, *, side: int, halo: int) -> VolumeJob:
    """A picture as a volume of one plane with tiles."""
    image = ImageRef.open(sample.picture, axes="yxc")
    intensity = VolumeIntensity.measure(image, "as_is")
    return VolumeJob(image, intensity, model, side, halo)


def whole_view(predictor: "Predictor") -> "Predictor":
    """The same model, for pictures of one and a half times the side that it would reduce.

    Only so a picture that is larger than a tile is seen at the magnification of its tiles.
    """
    from napari_sam.core.predictor import Predictor

    spec = predictor.spec
    side = round(WHOLE * spec.image_size)
    if spec.least_size == spec.image_size:
        raise ModelError(f"{spec.name} sees pictures of one size: tiles have another scale.")
    wider = replace(spec, image_size=side)
    return Predictor(predictor.network, wider, runtime=predictor.runtime)


def smallest_tiles(spec: ModelSpec) -> tuple[int, int]:
    """(side, halo) of the smallest tiles that the model sees in their own pixels."""
    halo = spec.least_size // 5
    return spec.least_size - 2 * halo, halo


def seams(grid: TileGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns at which a write region begins, but for the first."""
    rows, columns = grid.cells
    height, width = grid.write_size
    return np.arange(1, rows) * height, np.arange(1, columns) * width


def crossing(labels: NDArray[np.integer], grid: TileGrid) -> list[int]:
    """Labels of the objects that lie on both sides of a seam."""
    found: set[int] = set()
    for axis, places in enumerate(seams(grid)):
        for place in places.tolist():
            before, after = (np.take(labels, i, axis) for i in (place - 1, place))
            found |= set(np.unique(before[(before == after) & (before > 0)]).tolist())
    return sorted(found)
