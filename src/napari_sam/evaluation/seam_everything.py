"""Whether everything found in tiles is as good as everything found in the whole picture.

F1 of both against the truth, and how often boundaries of objects lie on a seam, over how often they
lie on any other line. The command: ``python -m napari_sam.evaluation.seam_everything PACK``. Each
picture is cut artificially; ``naive`` cuts objects where tiles meet, as other programs do.
Ctrl+C ends it with the figures of the pictures so far.
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.automatic import EncodesAndDecodes, generate
from napari_sam.core.masks import records_to_labels
from napari_sam.core.params import AutomaticParams
from napari_sam.core.predictor import load_predictor
from napari_sam.evaluation.cutting import cut, pack_parser, pictures, seams, smallest_tiles
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.matching import Counts, count_matches, iou_table
from napari_sam.progress import finish
from napari_sam.volume.model import Given
from napari_sam.volume.pipelines import VolumeJob, segment_volume
from napari_sam.volume.stitch import find_objects, paint
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import TileGrid, within

LEAST = 500  # pixels: smaller pictures would only be blurred
MARGIN = 8  # pixels beside a seam that are no fair line to compare with


@dataclass(frozen=True)
class Cuts:
    """Pixels of a line across a picture where two different objects, or an object and none, meet.

    Attributes
    ----------
    on_seams, pixels
        How many of them lie on seams, of how many pixels along the seams.
    elsewhere, others
        The same of all other lines.
    """

    on_seams: int = 0
    pixels: int = 0
    elsewhere: int = 0
    others: int = 0

    def __add__(self, other: "Cuts") -> "Cuts":
        return Cuts(
            self.on_seams + other.on_seams,
            self.pixels + other.pixels,
            self.elsewhere + other.elsewhere,
            self.others + other.others,
        )

    @property
    def ratio(self) -> float:
        """How many times as often a boundary lies on a seam as on another line; 1 is chance."""
        chance = self.elsewhere / max(self.others, 1)
        return self.on_seams / max(self.pixels, 1) / chance if chance else 1.0


def count_cuts(labels: NDArray[Any], grid: TileGrid) -> Cuts:
    """Boundaries on the seams of a grid, and on all other lines."""
    total = Cuts()
    for axis, places in enumerate(seams(grid)):
        lines = np.diff(labels.astype(np.int64), axis=axis) != 0
        per_line = lines.sum(1 - axis)
        length = labels.shape[1 - axis]
        on = np.zeros(len(per_line), bool)
        on[places - 1] = True
        near = np.zeros(len(per_line), bool)
        for place in places.tolist():
            near[max(0, place - 1 - MARGIN) : place + MARGIN] = True
        total += Cuts(
            int(per_line[on].sum()), int(on.sum()) * length,
            int(per_line[~near].sum()), int((~near).sum()) * length,
        )  # fmt: skip
    return total


def found_in_tiles(
    job: VolumeJob, params: AutomaticParams
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Labels of the only plane: stitched, and cut where tiles meet."""
    with tempfile.TemporaryDirectory() as folder:
        store = finish(segment_volume(job, Path(folder) / "tiles", params=params))
        return stitched(store), naive(store)


def stitched(store: TileStore) -> NDArray[np.uint32]:
    """As the program does it."""
    grid = store.manifest.grid
    objects = find_objects(grid, (0, 0), lambda tile: store.read(tile.index)["labels"])
    labels = np.zeros(grid.shape[2:], np.uint32)
    for tile in grid:
        labels[tile.write] = paint(
            grid, tile, objects, lambda tile: store.read(tile.index)["labels"]
        )
    return labels


def naive(store: TileStore) -> NDArray[np.int64]:
    """Each write region with labels of its own."""
    grid = store.manifest.grid
    labels = np.zeros(grid.shape[2:], np.int64)
    highest = 0
    for tile in grid:
        own = store.read(tile.index)["labels"][within(tile.write, tile.read)].astype(np.int64)
        labels[tile.write] = np.where(own > 0, own + highest, 0)
        highest += int(own.max(initial=0))
    return labels


def found_untiled(
    sample: Sample, predictor: EncodesAndDecodes, params: AutomaticParams
) -> NDArray[np.uint32]:
    """Labels of the picture as a whole."""
    records = finish(generate(sample.picture, predictor, params, intensity="as_is"))
    height, width = sample.labels.shape
    return records_to_labels(records, (height, width))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each picture, and all together."""
    parser = pack_parser("seam_everything")
    parser.add_argument("--points", type=int, default=24, help="a side of the whole picture")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    spec = predictor.spec
    side, halo = smallest_tiles(spec)
    whole = AutomaticParams.for_model(spec).changed(points_per_side=options.points)
    per_tile = round(options.points * (side + 2 * halo) / spec.image_size)
    tiled = whole.changed(points_per_side=per_tile)
    say(f"tiles of {side} pixels, halo {halo}; {options.points} points a side, {per_tile} in tiles")
    say("| picture | objects | F1 untiled | tiled | naive | boundaries on seams: tiled | naive |")
    say("|---|---|---|---|---|---|---|")
    counts, cuts = [Counts()] * 3, [Cuts()] * 2
    datasets = tuple(options.dataset)
    with suppress(KeyboardInterrupt):
        for sample in pictures(
            options.pack, spec.image_size, datasets=datasets, most=options.most, least_side=LEAST
        ):
            job = cut(sample, Given(predictor, options.model), side=side, halo=halo)
            in_tiles: tuple[NDArray[Any], ...] = found_in_tiles(job, tiled)
            results: list[NDArray[Any]] = [found_untiled(sample, predictor, whole), *in_tiles]
            new = [count_matches(iou_table(sample.labels, found), 0.5) for found in results]
            seen = [count_cuts(found, job.grid) for found in results[1:]]
            counts = [a + b for a, b in zip(counts, new, strict=True)]
            cuts = [a + b for a, b in zip(cuts, seen, strict=True)]
            say(row(sample.name, new, seen))
    say(row("**all**", counts, cuts))


def row(name: str, counts: Sequence[Counts], cuts: Sequence[Cuts]) -> str:
    """A line of the table."""
    figures = " | ".join(f"{one.f1:.3f}" for one in counts)
    ratios = " | ".join(f"{one.ratio:.2f} x chance" for one in cuts)
    return f"| {name} | {counts[0].hits + counts[0].missed} | {figures} | {ratios} |"


if __name__ == "__main__":
    main()
