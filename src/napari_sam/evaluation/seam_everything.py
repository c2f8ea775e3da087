"""Whether everything found in tiles is as good as everything found in the whole picture.

F1 of both against the truth, and how often boundaries of objects lie on a seam, over how often they
lie on any other line. The command: ``python -m napari_sam.evaluation.seam_everything PACK``.

Tiles are those that a user gets. A picture that the model sees whole is no larger than such a tile,
so it stands in the middle of its own mirror images, where two tiles meet: what is found is compared
within the picture alone. ``--small`` cuts the picture itself into the smallest tiles, which see
less of it than the model does. ``naive`` cuts objects where tiles meet, as other programs do.
Pictures are done one by one; with ``--results`` the same command goes on after a kill, and Ctrl+C
ends it with the figures so far.
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
from napari_sam.core.regions import Region, Size
from napari_sam.core.registry import ModelSpec
from napari_sam.evaluation.cutting import (
    cut,
    mirrored,
    pack_parser,
    pictures,
    seams,
    smallest_tiles,
)
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.matching import Counts, count_matches, iou_table
from napari_sam.evaluation.results import open_results
from napari_sam.progress import finish
from napari_sam.volume.model import Given, ModelChoice
from napari_sam.volume.part import GridPart, segment_part
from napari_sam.volume.pipelines import VolumeJob, open_segmentation
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import intersection, usual_tiles, within

LEAST = 500  # pixels: smaller pictures would only be blurred
MARGIN = 8  # pixels beside a seam that are no fair line to compare with
PICTURES = 12  # by default, spread over the pack: about ten minutes of one core
PLANE = (0, 0)


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


@dataclass(frozen=True)
class Outcome:
    """Figures of one picture: untiled, in stitched tiles, in tiles that cut objects.

    Attributes
    ----------
    counts
        Objects found, at an IoU of 0.5.
    cuts
        Boundaries on seams and elsewhere.
    """

    counts: tuple[Counts, Counts, Counts]
    cuts: tuple[Cuts, Cuts, Cuts]


@dataclass(frozen=True)
class Cutting:
    """How pictures are cut, and how many points are asked.

    Attributes
    ----------
    side, halo
        Of the tiles in pixels.
    points
        A side of the whole picture.
    small
        The picture itself is cut, instead of a plane with its mirror images.
    """

    side: int
    halo: int
    points: int
    small: bool

    @classmethod
    def of(cls, spec: ModelSpec, *, points: int, small: bool) -> "Cutting":
        """For a model."""
        side, halo = smallest_tiles(spec) if small else usual_tiles(spec.image_size)
        return cls(side, halo, points, small)

    def grid_in_tiles(self, picture: Size, tile: Size) -> NDArray[np.float64]:
        """Points (N, 2) y, x of a tile in 0 to 1, along either axis as dense as in the picture.

        A picture has as many points along its short side as along its long one: a square grid in
        tiles would be thinner, and would find less.
        """
        counts = (max(1, round(self.points * t / n)) for t, n in zip(tile, picture, strict=True))
        marks = [(np.arange(count) + 0.5) / count for count in counts]
        y, x = np.meshgrid(*marks, indexing="ij")
        return np.stack([y, x], -1).reshape(-1, 2)

    def place(self, sample: Sample, *, down: bool) -> tuple[Sample, Region]:
        """The plane that is cut into tiles, and where the picture is in it."""
        if not self.small:
            return mirrored(sample, side=self.side, down=down)
        height, width = sample.labels.shape
        return sample, (slice(0, height), slice(0, width))


def count_cuts(labels: NDArray[Any], seams: tuple[NDArray[np.int64], ...]) -> Cuts:
    """Boundaries on seams, given as rows and columns of the labels, and on all other lines."""
    total = Cuts()
    for axis, places in enumerate(seams):
        if not len(places):
            continue
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
    job: VolumeJob, params: AutomaticParams, region: Region
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Labels of a region of the only plane: stitched, and cut where tiles meet."""
    with tempfile.TemporaryDirectory() as folder:
        work, store = open_segmentation(job, Path(folder) / "tiles", params=params)
        _, stitched = finish(segment_part(work, store, PLANE, region))
        return stitched, naive(store, region)


def naive(store: TileStore, region: Region) -> NDArray[np.int64]:
    """Each write region with labels of its own."""
    labels = np.zeros([part.stop - part.start for part in region], np.int64)
    highest = 0
    for tile in GridPart.of(store.manifest.grid, region).on(PLANE):
        shared = intersection(tile.write, region)
        assert shared is not None
        own = store.read(tile.index)["labels"][within(shared, tile.read)].astype(np.int64)
        labels[within(shared, region)] = np.where(own > 0, own + highest, 0)
        highest += int(own.max(initial=0))
    return labels


def found_untiled(
    sample: Sample, predictor: EncodesAndDecodes, params: AutomaticParams
) -> NDArray[np.uint32]:
    """Labels of the picture as a whole."""
    records = finish(generate(sample.picture, predictor, params, intensity="as_is"))
    height, width = sample.labels.shape
    return records_to_labels(records, (height, width))


def examine(
    sample: Sample, predictor: EncodesAndDecodes, spec: ModelSpec, cutting: Cutting, *, down: bool
) -> Outcome:
    """Find everything in a picture, whole and in tiles. ``down``: tiles meet along y, else x."""
    whole = AutomaticParams.for_model(spec).changed(points_per_side=cutting.points)
    plane, region = cutting.place(sample, down=down)
    job = cut(plane, Given(predictor, spec.name), side=cutting.side, halo=cutting.halo)
    height, width = sample.labels.shape
    points = cutting.grid_in_tiles((height, width), job.grid.read_size)
    tiled = whole.changed(point_grids=(points,))
    in_tiles: tuple[NDArray[Any], ...] = found_in_tiles(job, tiled, region)
    found: list[NDArray[Any]] = [found_untiled(sample, predictor, whole), *in_tiles]
    inside = tuple(
        places[(places > part.start) & (places < part.stop)] - part.start
        for places, part in zip(seams(job.grid), region, strict=True)
    )
    counts = [count_matches(iou_table(sample.labels, one), 0.5) for one in found]
    cuts = [count_cuts(one, inside) for one in found]
    return Outcome((counts[0], counts[1], counts[2]), (cuts[0], cuts[1], cuts[2]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each picture, and all together."""
    parser = pack_parser("seam_everything", most=PICTURES)
    parser.add_argument("--points", type=int, default=24, help="a side of the whole picture")
    parser.add_argument("--small", action="store_true", help="the smallest tiles of the picture")
    parser.add_argument("--results", type=Path, help="keep each picture's figures in this folder")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    spec = predictor.spec
    cutting = Cutting.of(spec, points=options.points, small=options.small)
    say(f"tiles of {cutting.side} pixels, halo {cutting.halo}; {options.points} points along"
        " either side of a picture, as dense in tiles")  # fmt: skip
    say("| picture | objects | F1@0.5 untiled | tiled | naive | boundaries on seams over chance:"
        " untiled | tiled | naive |")  # fmt: skip
    say("|---|---|---|---|---|---|---|---|")
    store, kept = None, {}
    if options.results is not None:
        about = {"model": ModelChoice(options.model).identity(), "least side": LEAST}
        about |= {name: getattr(cutting, name) for name in ("side", "halo", "points")}
        name = f"{options.model}-small" if options.small else options.model
        store = open_results(options.results, name, about)
        kept = store.read("seams", Outcome)
    done: list[Outcome] = []
    with suppress(KeyboardInterrupt):
        for number, sample in enumerate(
            pictures(
                options.pack, spec.image_size, datasets=tuple(options.dataset),
                most=options.most, least_side=LEAST,
            )
        ):  # fmt: skip
            known = kept.get(sample.name)
            if known is None:
                known = [examine(sample, predictor, spec, cutting, down=number % 2 == 1)]
                if store is not None:
                    store.add("seams", sample.name, known)
            done += known
            say(row(sample.name, known[0]))
    if done:
        say(row("**all objects**", together(done)))
        say(means(done))


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Sums over pictures."""
    counts, cuts = [Counts()] * 3, [Cuts()] * 3
    for one in outcomes:
        counts = [a + b for a, b in zip(counts, one.counts, strict=True)]
        cuts = [a + b for a, b in zip(cuts, one.cuts, strict=True)]
    return Outcome((counts[0], counts[1], counts[2]), (cuts[0], cuts[1], cuts[2]))


def row(name: str, outcome: Outcome) -> str:
    """A line of the table."""
    figures = " | ".join(f"{one.f1:.3f}" for one in outcome.counts)
    ratios = " | ".join(f"{one.ratio:.2f}" for one in outcome.cuts)
    first = outcome.counts[0]
    return f"| {name} | {first.hits + first.missed} | {figures} | {ratios} |"


def means(outcomes: Sequence[Outcome]) -> str:
    """How far apart tiled and untiled are on average, and how sure that is."""
    parts = []
    for place, name in ((1, "tiled"), (2, "naive")):
        apart = [one.counts[place].f1 - one.counts[0].f1 for one in outcomes]
        spread = np.std(apart, ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else np.nan
        parts.append(f"{name} - untiled {np.mean(apart):+.4f} (standard error {spread:.4f})")
    return f"mean over {len(outcomes)} pictures of F1 {', '.join(parts)}"


if __name__ == "__main__":
    main()
