"""``napari-sam segment-volume | stitch``: all objects of a volume as labels of its OME-Zarr image.

Knows the options and the order: tiles, then labels. The jobs are in ``volume``.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam._cli_auto import (
    Adaptive,
    BoxNms,
    Layers,
    LeastIou,
    LeastStability,
    Level,
    Points,
    SmallRegions,
    params_of,
)
from napari_sam._cli_groups import grouped
from napari_sam._cli_machines import Machines
from napari_sam._cli_models import Engine
from napari_sam._cli_options import Verbose, switch, whole
from napari_sam._cli_volume import (
    Cut,
    Store,
    Work,
    embeddings_folder,
    folder_here,
    open_image,
    say,
    watch,
    work_folder,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_sam.core.params import AutomaticParams
    from napari_sam.progress import Progress
    from napari_sam.volume.image import ImageRef
    from napari_sam.volume.link import LinkParams
    from napari_sam.volume.pipelines import VolumeJob
    from napari_sam.volume.run import Runner
    from napari_sam.volume.store import TileStore

_OBJECTS, _LINKS = "Which objects", "From planes to volumes"

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="A zarr group for labels/NAME, if not the OME-Zarr image itself.",
    ),
]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Labels go to labels/NAME.")]
Kept = Annotated[
    bool, typer.Option("--embeddings", metavar="", help="Use what `embed` keeps, and add to it.")
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="A CSV file of points (z,y,x) or boxes (z,y0,x0,y1,x1): only these objects.",
        rich_help_panel=_OBJECTS,
    ),
]
Objects = Annotated[
    Level, typer.Option("--objects", help="Of objects in objects.", rich_help_panel=_OBJECTS)
]
LeastArea = Annotated[int, whole("--min-area", 0, "Least pixels in a plane.", _OBJECTS)]
To = Annotated[
    str | None, typer.Option("--to", metavar="NAME2", help="Name of the labels; else NAME.")
]
LinkIou = Annotated[
    float | None,
    typer.Option(
        "--link-iou", metavar="X", help="Least overlap of planes (IoU).", rich_help_panel=_LINKS
    ),
]
Gap = Annotated[int | None, whole("--gap", 0, "Planes that may miss an object.", _LINKS)]
LeastSize = Annotated[int | None, whole("--min-size", 0, "Least voxels in all.", _LINKS)]
Apart = Annotated[bool, switch("--planes-apart", "Each plane has objects of its own.", _LINKS)]


@dataclass(frozen=True)
class Finding:
    """Settings of the generator in each tile; None is the model's default."""

    points_per_side: Points = None
    crop_n_layers: Layers = None
    adaptive: Adaptive = False
    pred_iou_thresh: LeastIou = None
    stability_score_thresh: LeastStability = None
    box_nms_thresh: BoxNms = None
    min_mask_region_area: SmallRegions = None
    objects: Objects = Level.ALL

    def params(self, model: str) -> "AutomaticParams":
        """The model's defaults with what was given."""
        given = asdict(self)
        given["level"] = given.pop("objects").value
        return params_of(model, given)


@dataclass(frozen=True)
class Linking:
    """How planes become volumes."""

    link_iou: LinkIou = None
    gap: Gap = None
    min_size: LeastSize = None
    planes_apart: Apart = False

    def params(self) -> "LinkParams":
        """The defaults with what was given."""
        from napari_sam.volume.link import LinkParams

        given = asdict(self)
        given["iou"] = given.pop("link_iou")
        return LinkParams(**{key: value for key, value in given.items() if value is not None})


@grouped
def segment_volume(
    store: Store,
    name: Name,
    *,
    output: Output = None,
    work: Work = None,
    engine: Engine,
    cut: Cut,
    embeddings: Kept = False,
    prompts: Prompts = None,
    finding: Finding,
    min_area: LeastArea = 0,
    linking: Linking,
    machines: Machines,
    verbose: Verbose = False,
) -> None:
    """Find all objects of a volume and write them to labels/NAME of the OME-Zarr image.

        napari-sam segment-volume stack.zarr --name cells

    Tiles are segmented one by one, stitched without seams, and linked through z. Stopped or killed,
    the same command goes on where it was. Of other files than OME-Zarr, say where labels go:

        napari-sam segment-volume stack.tif --name cells -o stack_labels.zarr

    Only what a detector has found (points or boxes in a CSV file, see the manual):

        napari-sam segment-volume stack.zarr --name cells --prompts found.csv

    On many machines that see the same files:

        napari-sam segment-volume stack.zarr --name cells --scheduler tcp://node1:8786
    """
    params, links = finding.params(engine.model), linking.params()
    image = cut.image(store)
    root = _root(store, image, output)
    job = cut.job(image, engine)
    folder = _tiles(store, work, name)
    kept = embeddings_folder(store, work, engine.model) if embeddings else None
    what: AutomaticParams | Path = params if prompts is None else prompts
    with machines.runner() as runner:
        tiles = watch(_segment(job, folder, what, min_area, kept, runner), kept="tiles")
        _stitch(tiles, image, root, name, links, runner)


def _segment(
    job: "VolumeJob",
    folder: Path,
    what: "AutomaticParams | Path",
    min_area: int,
    embeddings: Path | None,
    runner: "Runner",
) -> "Generator[Progress, None, TileStore]":
    """The job that finds all objects, or those that a file names."""
    from napari_sam.volume.pipelines import segment_volume as segment_all
    from napari_sam.volume.prompt_pipeline import segment_prompts
    from napari_sam.volume.prompt_table import read_prompts

    given: dict[str, Any] = {"min_area": min_area, "embeddings": embeddings, "runner": runner}
    if isinstance(what, Path):
        return segment_prompts(job, folder, read_prompts(what), **given)
    return segment_all(job, folder, params=what, **given)


@grouped
def stitch(
    store: Store,
    name: Name,
    *,
    to: To = None,
    output: Output = None,
    work: Work = None,
    linking: Linking,
    machines: Machines,
    verbose: Verbose = False,
) -> None:
    """Make labels again of the tiles that `segment-volume` kept, with other settings for planes.

    napari-sam stitch stack.zarr --name cells --to cells_gap1 --gap 1
    """
    from napari_sam.volume.store import TileStore

    tiles = TileStore.open(_tiles(store, work, name))
    stored = tiles.manifest.image
    image = open_image(store, stored["axes"], stored["level"])
    _same_image(tiles, image)
    root, links = _root(store, image, output), linking.params()
    with machines.runner() as runner:
        _stitch(tiles, image, root, to or name, links, runner)


def _tiles(store: str, work: Path | None, name: str) -> Path:
    from napari_sam.volume.ome import check_name

    check_name(name)
    return work_folder(store, work) / f"tiles-{name}"


def _root(store: str, image: "ImageRef", output: Path | None) -> Path:
    if output is None and image.zarr_format is None:
        raise typer.BadParameter(
            f"labels cannot go into {store}, which is no OME-Zarr image of this machine: say where"
            " with --output FOLDER.zarr."
        )
    return Path(store) if output is None else folder_here(output, "--output")


def _same_image(tiles: "TileStore", image: "ImageRef") -> None:
    from napari_sam.volume.sample import fingerprint

    found = {**fingerprint(image), "level": image.level}
    tiles.manifest.check(replace(tiles.manifest, image=found), str(tiles.path))


def _stitch(
    tiles: "TileStore",
    image: "ImageRef",
    root: Path,
    name: str,
    links: "LinkParams",
    runner: "Runner",
) -> None:
    from napari_sam.volume.pipelines import stitch_volume

    job = stitch_volume(tiles, image, root, name, params=links, runner=runner)
    labels = watch(job, kept="steps of stitching")
    say(f"{labels.count} objects in {labels.path}")
