"""Everything found in stacks by ``segment-volume``, against all true objects in 3D.

The command: ``python -m napari_sam.evaluation.stacks PACK``. Planes are segmented without prompts,
in tiles, and linked through z; an object counts as found at an IoU of voxels from 0.5 on. Two more
pairs of figures tell whose fault it is: ``in planes`` compares the objects of single planes, what
the model finds before anything is linked; ``linked truth`` links the true labels of each plane,
what linking could reach. With ``--results`` tiles and figures are kept, and the same command goes
on after a kill.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected_components

from napari_sam.core.params import AutomaticParams
from napari_sam.core.predictor import load_predictor
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.evaluation.datasets import STACKS, read_array, select_items
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.matching import Counts, count_matches, iou_table
from napari_sam.evaluation.results import open_results
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams, link_planes
from napari_sam.volume.model import Given, ModelChoice
from napari_sam.volume.overlaps import count_overlaps
from napari_sam.volume.pipelines import VolumeJob, segment_volume, stitch_volume
from napari_sam.volume.tiles import usual_tiles

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor

DATASETS = ("stardist", "plantseg_ovule", "fib25")
POINTS, MIDDLE = 16, 16  # by default: points a side of a plane, and planes of each stack
Labels = NDArray[Any]


@dataclass(frozen=True)
class Figures:
    """How well objects of a stack were found.

    Attributes
    ----------
    true, found
        How many objects there are, and were found.
    f1
        At IoU 0.5, in voxels.
    best
        Mean over the true objects of the IoU with the found one that fits best.
    """

    true: int
    found: int
    f1: float
    best: float


def judge(truth: Labels, found: Labels) -> Figures:
    """Compare labels (z, y, x)."""
    ious = iou_table(truth, found)
    best = float(ious.max(1, initial=0.0).mean()) if len(ious) else float("nan")
    return Figures(len(ious), ious.shape[1], count_matches(ious, 0.5).f1, best)


def judge_planes(truth: Labels, found: Labels) -> Figures:
    """Compare the objects of single planes of labels (z, y, x), all planes together."""
    counts, best, seen = Counts(), [], 0
    for true_plane, plane in zip(truth, found, strict=True):
        ious = iou_table(true_plane, plane)
        counts += count_matches(ious, 0.5)
        best += ious.max(1, initial=0.0).tolist()
        seen += ious.shape[1]
    return Figures(len(best), seen, counts.f1, float(np.mean(best)) if best else float("nan"))


@dataclass(frozen=True)
class StackFigures:
    """Of one stack: its planes; as found in 3D, in planes, and of true labels that were linked."""

    planes: int
    found: Figures
    in_planes: Figures
    ideal: Figures


def segment(
    predictor: "Predictor", volume: NDArray[Any], params: AutomaticParams, links: LinkParams,
    folder: Path,
) -> Labels:  # fmt: skip
    """What ``napari-sam segment-volume`` makes of a stack (z, y, x); tiles stay in the folder."""
    image = ImageRef.open(volume, axes="zyx")
    side, halo = usual_tiles(predictor.spec.image_size)
    intensity = VolumeIntensity.measure(image)
    job = VolumeJob(image, intensity, Given(predictor, predictor.spec.name), side, halo)
    store = finish(segment_volume(job, folder / "tiles", params=params))
    labels = finish(stitch_volume(store, image, folder / "labels.zarr", "all", params=links))
    return np.asarray(labels.arrays[0][:])


def link_truth(truth: Labels, links: LinkParams) -> Labels:
    """True labels, cut apart plane by plane and linked again."""
    parts = [connected_components(plane, background=0) for plane in truth]
    areas = [np.bincount(part.ravel(), minlength=int(part.max()) + 1) for part in parts]
    pairs = {
        (z - step, z): count_overlaps(parts[z - step], parts[z])
        for z in range(len(parts))
        for step in range(1, links.gap + 2)
        if z >= step
    }
    tables, _ = link_planes(areas, pairs, links)
    return np.stack([table[part] for table, part in zip(tables, parts, strict=True)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each stack."""
    parser = argparse.ArgumentParser(prog="python -m napari_sam.evaluation.stacks")
    parser.add_argument("pack", type=Path, help="folder with labelled images and manifest.json")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument(
        "--dataset", action="append", help=f"default: {', '.join(DATASETS)}; may be given again"
    )
    parser.add_argument("--points", type=int, default=POINTS, help="a side of each tile")
    parser.add_argument(
        "--planes", type=int, default=MIDDLE, help="so many, from the middle of each stack; 0: all"
    )
    parser.add_argument("--results", type=Path, help="keep tiles and figures in this folder")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    params = AutomaticParams.for_model(predictor.spec).changed(
        points_per_side=options.points, adaptive=True
    )
    links = LinkParams()
    say(f"the {options.planes or 'whole'} planes in the middle, {options.points} points a side,"
        " asked adaptively")  # fmt: skip
    say("| stack | planes | objects | found | F1@0.5 | mean best IoU | in planes: F1 | best"
        " | linked truth: F1 | best |")  # fmt: skip
    say("|---|---|---|---|---|---|---|---|---|---|")
    datasets = tuple(options.dataset or DATASETS)
    items = select_items(options.pack, datasets=datasets, axes=STACKS)
    with ExitStack() as held:
        root = options.results or Path(held.enter_context(tempfile.TemporaryDirectory()))
        about = {
            "model": ModelChoice(options.model).identity(),
            "points": options.points, "planes": options.planes,
        }  # fmt: skip
        kept = open_results(root, options.model, about)
        known = kept.read("stacks", StackFigures)
        for item in sorted(items, key=lambda item: int(np.prod(item["shape"]))):
            name = item["id"]
            if name not in known:
                volume, truth = read_stack(options.pack, item, options.planes)
                folder = kept.folder / name.replace("/", "-")
                found = segment(predictor, volume, params, links, folder)
                known[name] = [compare(truth, found, links)]
                kept.add("stacks", name, known[name])
            say(row(name, known[name][0]))


def compare(truth: Labels, found: Labels, links: LinkParams) -> StackFigures:
    """All figures of a stack."""
    ideal = judge(truth, link_truth(truth, links))
    return StackFigures(len(truth), judge(truth, found), judge_planes(truth, found), ideal)


def row(name: str, figures: StackFigures) -> str:
    """A line of the table."""
    parts = (figures.found, figures.in_planes, figures.ideal)
    pairs = " | ".join(f"{one.f1:.3f} | {one.best:.3f}" for one in parts)
    counts = f"{figures.planes} | {figures.found.true} | {figures.found.found}"
    return f"| {name} | {counts} | {pairs} |"


def read_stack(pack: Path, item: Mapping[str, Any], planes: int) -> tuple[NDArray[Any], Labels]:
    """Image and labels (z, y, x): so many planes in the middle of them; 0: all."""
    volume, truth = (read_array(pack / item[name]) for name in ("image", "label"))
    if 0 < planes < len(volume):
        first = (len(volume) - planes) // 2
        volume, truth = (array[first : first + planes] for array in (volume, truth))
    return volume, truth


if __name__ == "__main__":
    main()
