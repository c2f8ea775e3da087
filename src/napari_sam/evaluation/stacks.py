"""Everything found in stacks by ``segment-volume``, against all true objects in 3D.

The command: ``python -m napari_sam.evaluation.stacks PACK``. Planes are segmented without prompts,
in tiles, and linked through z; an object counts as found at an IoU of voxels from 0.5 on. ``linked
truth`` links the true labels of each plane instead: what linking alone could reach.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
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
from napari_sam.evaluation.matching import count_matches, iou_table
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams, link_planes
from napari_sam.volume.model import Given
from napari_sam.volume.overlaps import count_overlaps
from napari_sam.volume.pipelines import VolumeJob, segment_volume, stitch_volume
from napari_sam.volume.tiles import usual_tiles

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor

DATASETS = ("fib25", "stardist", "plantseg_ovule")
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


def segment(
    predictor: "Predictor", volume: NDArray[Any], params: AutomaticParams, links: LinkParams
) -> Labels:
    """What ``napari-sam segment-volume`` makes of a stack (z, y, x)."""
    image = ImageRef.open(volume, axes="zyx")
    side, halo = usual_tiles(predictor.spec.image_size)
    intensity = VolumeIntensity.measure(image)
    job = VolumeJob(image, intensity, Given(predictor, predictor.spec.name), side, halo)
    with tempfile.TemporaryDirectory() as folder:
        store = finish(segment_volume(job, Path(folder) / "tiles", params=params))
        labels = finish(stitch_volume(store, image, Path(folder) / "l.zarr", "all", params=links))
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
    parser.add_argument("--points", type=int, default=32, help="a side of each tile")
    parser.add_argument("--planes", type=int, help="only so many, from the middle of each stack")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    params = AutomaticParams.for_model(predictor.spec).changed(
        points_per_side=options.points, adaptive=True
    )
    links = LinkParams()
    say("| stack | planes | objects | found | F1@0.5 | mean best IoU | linked truth: F1 | best |")
    say("|---|---|---|---|---|---|---|---|")
    datasets = tuple(options.dataset or DATASETS)
    for item in select_items(options.pack, datasets=datasets, axes=STACKS):
        volume, truth = read_stack(options.pack, item, options.planes)
        figures = judge(truth, segment(predictor, volume, params, links))
        ideal = judge(truth, link_truth(truth, links))
        say(
            f"| {item['id']} | {len(truth)} | {figures.true} | {figures.found} | {figures.f1:.3f}"
            f" | {figures.best:.3f} | {ideal.f1:.3f} | {ideal.best:.3f} |"
        )


def read_stack(
    pack: Path, item: Mapping[str, Any], planes: int | None
) -> tuple[NDArray[Any], Labels]:
    """Image and labels (z, y, x), or the planes in the middle of them."""
    volume, truth = (read_array(pack / item[name]) for name in ("image", "label"))
    if planes is not None and planes < len(volume):
        first = (len(volume) - planes) // 2
        volume, truth = (array[first : first + planes] for array in (volume, truth))
    return volume, truth


if __name__ == "__main__":
    main()
