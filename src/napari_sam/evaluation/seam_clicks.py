"""Whether clicks and boxes on objects that cross a seam have the mask that they have without tiles.

The command: ``python -m napari_sam.evaluation.seam_clicks PACK``. Each picture is cut artificially;
``naive`` cuts the mask where tiles meet, as other programs do. With ``--beyond``, pictures have one
and a half times the side that the model sees at once; they are encoded whole all the same.
Ctrl+C ends it with the figures of the pictures so far.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.core.predictor import load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Region
from napari_sam.evaluation.clicks import deepest_point, tight_box
from napari_sam.evaluation.cutting import (
    LEAST_SIDE,
    crossing,
    cut,
    pack_parser,
    pictures,
    smallest_tiles,
    whole_view,
)
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.metrics import Mask
from napari_sam.progress import finish
from napari_sam.volume.clicks import Answer, solve
from napari_sam.volume.embedder import Embedder
from napari_sam.volume.model import Given
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.tiles import TileGrid, usual_tiles

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor

OBJECTS = 40  # of a picture at most
RIGHT = 0.7  # IoU with the truth: where the model does not even find the object, masks are noise
KINDS = ("click", "box")


@dataclass(frozen=True)
class Agreement:
    """IoU of tiled and untiled masks of one object.

    Attributes
    ----------
    kind
        ``"click"`` or ``"box"``.
    tiled, naive
        IoU with the untiled mask: as the program does it, and cut where tiles meet.
    truth
        IoU with the labelled object of the untiled, the tiled and the naive mask.
    """

    kind: str
    tiled: float
    naive: float
    truth: tuple[float, float, float]


def compare(whole_predictor: "Predictor", sample: Sample, job: VolumeJob) -> Iterator[Agreement]:
    """All objects of a picture that cross a seam, by a click in their middle and by their box."""
    chosen = crossing(sample.labels, job.grid)[:OBJECTS]
    if not chosen:
        return
    whole = whole_predictor.encode(sample.picture, intensity="as_is")
    embedder = Embedder(job, closer=True)
    for label in chosen:
        truth = sample.labels == label
        for kind in KINDS:
            prompts = prompt(truth, kind)
            several = kind == "click"
            untiled = whole_predictor.decode(whole, prompts, multimask=several).mask(0)
            answer = finish(solve(embedder, (0, 0), prompts, multimask=several))[0]
            tiled = full_mask(answer, truth.shape)
            naive = at_home(tiled, job.grid, deepest_point(truth))
            yield Agreement(
                kind,
                iou(tiled, untiled),
                iou(naive, untiled),
                (iou(untiled, truth), iou(tiled, truth), iou(naive, truth)),
            )


def prompt(truth: Mask, kind: str) -> Prompts:
    """What a person would give for an object."""
    if kind == "box":
        return Prompts(boxes=[tight_box(truth)])
    return Prompts(points=[[deepest_point(truth)]], point_labels=[[1]])


def at_home(mask: Mask, grid: TileGrid, point: tuple[int, int]) -> Mask:
    """What of a mask lies in the write region that has a point."""
    home = next(tile.write for tile in grid if inside(point, tile.write))
    kept = np.zeros_like(mask)
    kept[home] = mask[home]
    return kept


def inside(point: tuple[int, int], region: Region) -> bool:
    """Whether a pixel (y, x) lies in a region."""
    return all(side.start <= at < side.stop for at, side in zip(point, region, strict=True))


def full_mask(answer: Answer, size: tuple[int, ...]) -> Mask:
    """The best mask of an answer on the whole plane."""
    mask = np.zeros(size, bool)
    patch, region = answer.patch()
    mask[region] = patch
    return mask


def iou(first: Mask, second: Mask) -> float:
    """Shared over all pixels; 1 for two empty masks."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each picture and the means."""
    parser = pack_parser("seam_clicks")
    parser.add_argument(
        "--beyond", action="store_true", help="pictures larger than what the model sees at once"
    )
    parser.add_argument("--least-side", type=int, default=LEAST_SIDE, help="of a picture")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    if options.beyond:
        (side, halo), whole = usual_tiles(predictor.spec.image_size), whole_view(predictor)
    else:
        (side, halo), whole = smallest_tiles(predictor.spec), predictor
    say(f"tiles of {side} pixels, halo {halo}; IoU of tiled with untiled masks: mean (median)")
    say("| picture | prompt | objects | tiled | naive | truth: untiled, tiled, naive |")
    say("|---|---|---|---|---|---|")
    everything: list[Agreement] = []
    datasets = tuple(options.dataset)
    with suppress(KeyboardInterrupt):
        for sample in pictures(
            options.pack,
            whole.spec.image_size,
            datasets=datasets,
            most=options.most,
            least_side=options.least_side,
        ):
            job = cut(sample, Given(predictor, options.model), side=side, halo=halo)
            found = list(compare(whole, sample, job))
            everything += found
            show(sample.name, found)
    show("**all**", everything)
    show("**untiled is right**", [one for one in everything if one.truth[0] >= RIGHT])


def show(name: str, found: Sequence[Agreement]) -> None:
    """Print a line for each kind of prompt."""
    for kind in KINDS:
        of_kind = [one for one in found if one.kind == kind]
        if of_kind:
            tiled, naive = ([getattr(o, n) for o in of_kind] for n in ("tiled", "naive"))
            truth = ", ".join(f"{value:.3f}" for value in np.mean([o.truth for o in of_kind], 0))
            means = " | ".join(f"{np.mean(v):.4f} ({np.median(v):.3f})" for v in (tiled, naive))
            say(f"| {name} | {kind} | {len(of_kind)} | {means} | {truth} |")


if __name__ == "__main__":
    main()
