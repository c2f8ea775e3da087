"""``napari-sam embed | segment-volume | stitch | status | verify``: volumes larger than memory.

Knows options, where results lie, and what is told to the user; the jobs are in ``volume``.
"""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from napari_sam._cli_auto import (
    Adaptive,
    BoxNms,
    Layers,
    LeastIou,
    LeastStability,
    Level,
    Points,
    SmallRegions,
)
from napari_sam._cli_models import fetch
from napari_sam._cli_options import (
    Backend,
    BackendName,
    Channels,
    Device,
    IntensityRange,
    ModelName,
    Precision,
    PrecisionName,
    Verbose,
    WeightsPath,
    indices,
    intensity_of,
)
from napari_sam.core.params import AutomaticParams
from napari_sam.core.registry import DEFAULT_MODEL, get_spec
from napari_sam.errors import StoreError

if TYPE_CHECKING:
    from napari_sam.progress import Progress as Step
    from napari_sam.volume.image import ImageRef
    from napari_sam.volume.link import LinkParams
    from napari_sam.volume.ome import LabelImage
    from napari_sam.volume.pipelines import VolumeJob
    from napari_sam.volume.store import TileStore

__all__ = ["PANEL", "embed", "segment_volume", "status", "stitch", "verify"]

PANEL = "Volumes"
_TILES, _OBJECTS, _LINKS = "How it is cut", "Which objects", "From planes to volumes"
_Result = TypeVar("_Result")

Store = Annotated[
    Path,
    typer.Argument(
        metavar="STORE", help="The image: OME-Zarr (0.4 or 0.5), zarr, .npy or a (Big, OME-) TIFF."
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work", metavar="FOLDER", help="For the tiles. Default: STORE.napari-sam, beside it."
    ),
]
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
Scale = Annotated[
    int | None,
    typer.Option(
        "--level", metavar="N", min=0, help="Resolution of a pyramid; default: the finest there is."
    ),
]
Axes = Annotated[
    str | None,
    typer.Option("--axes", metavar="TCZYX", help="A letter for each axis, if the file is wrong."),
]
Side = Annotated[
    int | None,
    typer.Option(
        "--tile", metavar="PIXELS", min=1, help="Side of the tiles.", rich_help_panel=_TILES
    ),
]
Halo = Annotated[
    int | None,
    typer.Option(
        "--halo",
        metavar="PIXELS",
        min=0,
        help="What a tile sees of its neighbours; best as large as an object.",
        rich_help_panel=_TILES,
    ),
]
Numbers = Annotated[
    str,
    typer.Option("--dtype", metavar="NAME", help="Embeddings as float16, bfloat16 or float32."),
]
Kept = Annotated[
    bool, typer.Option("--embeddings", metavar="", help="Use what `embed` keeps, and add to it.")
]
Objects = Annotated[
    Level, typer.Option("--objects", help="Of objects in objects.", rich_help_panel=_OBJECTS)
]
LeastArea = Annotated[
    int,
    typer.Option(
        "--min-area",
        metavar="N",
        min=0,
        help="Least pixels in a plane.",
        rich_help_panel=_OBJECTS,
    ),
]
LinkIou = Annotated[
    float | None,
    typer.Option(
        "--link-iou", metavar="X", help="Least overlap of planes (IoU).", rich_help_panel=_LINKS
    ),
]
Gap = Annotated[
    int | None,
    typer.Option(
        "--gap", metavar="N", min=0, help="Planes that may miss an object.", rich_help_panel=_LINKS
    ),
]
LeastSize = Annotated[
    int | None,
    typer.Option(
        "--min-size", metavar="N", min=0, help="Least voxels in all.", rich_help_panel=_LINKS
    ),
]
Apart = Annotated[
    bool,
    typer.Option(
        "--planes-apart",
        metavar="",
        help="Each plane has objects of its own.",
        rich_help_panel=_LINKS,
    ),
]


def embed(
    store: Store,
    work: Work = None,
    model: ModelName = DEFAULT_MODEL,
    weights: WeightsPath = None,
    device: Device = "auto",
    precision: PrecisionName = Precision.EXACT,
    backend: BackendName = Backend.AUTO,
    intensity: IntensityRange = "percentile",
    channels: Channels = None,
    axes: Axes = None,
    level: Scale = None,
    tile: Side = None,
    halo: Halo = None,
    dtype: Numbers = "float16",
    verbose: Verbose = False,
) -> None:
    """Compute the image embeddings of a volume, tile by tile, and keep them.

        napari-sam embed stack.zarr

    Stopped or killed, the same command goes on where it was. `segment-volume --embeddings` uses
    what is there.
    """
    from napari_sam.volume.pipelines import embed_volume

    if dtype not in ("float16", "bfloat16", "float32"):
        raise typer.BadParameter(f"--dtype {dtype}: take float16, bfloat16 or float32.")
    choice = _model(model, weights, device, precision, backend)
    image = _image(store, axes, level)
    job = _job(image, choice, intensity, channels, tile, halo)
    path = _work(store, work) / f"embeddings-{model}"
    kept = _follow(embed_volume(job, path, dtype=dtype))
    size = kept.bytes_on_disk()
    t, z, y, x = kept.manifest.grid.shape
    density = size / (t * z * y * x)
    _say(f"{len(kept)} tiles in {path}: {size / 1e6:,.1f} MB, {density:.2f} bytes a voxel")


def segment_volume(
    store: Store,
    name: Name,
    output: Output = None,
    work: Work = None,
    model: ModelName = DEFAULT_MODEL,
    weights: WeightsPath = None,
    device: Device = "auto",
    precision: PrecisionName = Precision.EXACT,
    backend: BackendName = Backend.AUTO,
    intensity: IntensityRange = "percentile",
    channels: Channels = None,
    axes: Axes = None,
    level: Scale = None,
    tile: Side = None,
    halo: Halo = None,
    embeddings: Kept = False,
    points_per_side: Points = None,
    crop_n_layers: Layers = None,
    adaptive: Adaptive = False,
    pred_iou_thresh: LeastIou = None,
    stability_score_thresh: LeastStability = None,
    box_nms_thresh: BoxNms = None,
    min_mask_region_area: SmallRegions = None,
    objects: Objects = Level.ALL,
    min_area: LeastArea = 0,
    link_iou: LinkIou = None,
    gap: Gap = None,
    min_size: LeastSize = None,
    planes_apart: Apart = False,
    verbose: Verbose = False,
) -> None:
    """Find all objects of a volume and write them to labels/NAME of the OME-Zarr image.

        napari-sam segment-volume stack.zarr --name cells

    Tiles are segmented one by one, stitched without seams, and linked through z. Stopped or killed,
    the same command goes on where it was. Of other files than OME-Zarr, say where labels go:

        napari-sam segment-volume stack.tif --name cells -o stack_labels.zarr
    """
    from napari_sam.volume.pipelines import segment_volume as job_of

    given = {
        "points_per_side": points_per_side,
        "crop_n_layers": crop_n_layers,
        "adaptive": adaptive,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
        "box_nms_thresh": box_nms_thresh,
        "min_mask_region_area": min_mask_region_area,
        "level": objects.value,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    params = AutomaticParams.for_model(get_spec(model)).changed(**changes)
    links = _links(link_iou, gap, min_size, planes_apart)
    image = _image(store, axes, level)
    root = _root(store, image, output)
    choice = _model(model, weights, device, precision, backend)
    job = _job(image, choice, intensity, channels, tile, halo)
    folder = _work(store, work)
    kept = folder / f"embeddings-{model}" if embeddings else None
    tiles = _follow(
        job_of(job, _tiles(folder, name), params=params, min_area=min_area, embeddings=kept)
    )
    _stitch(tiles, image, root, name, links)


def stitch(
    store: Store,
    name: Name,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME2", help="Name of the labels; else NAME.")
    ] = None,
    output: Output = None,
    work: Work = None,
    link_iou: LinkIou = None,
    gap: Gap = None,
    min_size: LeastSize = None,
    planes_apart: Apart = False,
    verbose: Verbose = False,
) -> None:
    """Make labels again of the tiles that `segment-volume` kept, with other settings for planes.

    napari-sam stitch stack.zarr --name cells --to cells_gap1 --gap 1
    """
    from napari_sam.volume.store import TileStore

    tiles = TileStore.open(_tiles(_work(store, work), name))
    stored = tiles.manifest.image
    image = _image(store, stored["axes"], stored["level"])
    _same_image(tiles, image)
    links = _links(link_iou, gap, min_size, planes_apart)
    _stitch(tiles, image, _root(store, image, output), to or name, links)


def status(store: Store, work: Work = None, verbose: Verbose = False) -> None:
    """Show what is done, missing and failed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tiles of", no_wrap=True, style="cyan")
    table.add_column("model", no_wrap=True)
    for column in ("done", "missing", "failed", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    reasons = []
    for tiles in _stores(_work(store, work)):
        done, failures = int(tiles.done().sum()), tiles.failures()
        missing = len(tiles) - done - len(failures)
        size = f"{tiles.bytes_on_disk() / 1e6:,.1f}"
        name = tiles.manifest.model["name"]
        table.add_row(tiles.path.name, name, str(done), str(missing), str(len(failures)), size)
        grid = tiles.manifest.grid
        reasons += [f"{tiles.path.name}: {grid.tile(i).key}: {why}" for i, why in failures.items()]
    Console().print(table)
    for reason in reasons:
        _say(reason)


def verify(
    store: Store,
    work: Work = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", metavar="", help="Have damaged tiles made again by the next run."),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Compare all tiles with their checksums; ends with 8 if one is damaged."""
    bad = 0
    for tiles in _stores(_work(store, work)):
        damaged = _follow(tiles.verify(repair=repair))
        for index, reason in damaged.items():
            _say(f"{tiles.path.name}: {tiles.manifest.grid.tile(index).key}: {reason}")
        _say(f"{tiles.path.name}: {int(tiles.done().sum())} tiles, {len(damaged)} damaged")
        bad += len(damaged)
    if bad:
        cure = "run the command that made them again" if repair else "run this with --repair"
        raise StoreError(f"{bad} tiles are damaged: {cure}.")


def _image(store: Path, axes: str | None, level: int | None) -> "ImageRef":
    from napari_sam.volume.image import ImageRef

    return ImageRef.open(store, axes=axes, level=level)


def _model(
    model: str, weights: Path | None, device: str, precision: Precision, backend: Backend
) -> Any:
    from napari_sam.core.weights import find
    from napari_sam.volume.model import ModelChoice

    spec = get_spec(model)
    if weights is None and find(spec) is None:
        fetch(spec)
    path = str(weights) if weights else None
    return ModelChoice(model, path, device, precision.value, backend.value)  # type: ignore[arg-type]


def _job(
    image: "ImageRef",
    choice: Any,
    intensity: str,
    channels: str | None,
    tile: int | None,
    halo: int | None,
) -> "VolumeJob":
    from napari_sam.volume.intensity import VolumeIntensity
    from napari_sam.volume.pipelines import VolumeJob

    measured = VolumeIntensity.measure(image, intensity_of(intensity), channels=indices(channels))
    seen = get_spec(choice.name).image_size
    margin = seen // 8 if halo is None else halo
    side = max(1, seen - 2 * margin) if tile is None else tile
    return VolumeJob(image, measured, choice, side, margin)


def _links(iou: float | None, gap: int | None, min_size: int | None, apart: bool) -> "LinkParams":
    from napari_sam.volume.link import LinkParams

    given: dict[str, Any] = {"iou": iou, "gap": gap, "min_size": min_size, "planes_apart": apart}
    return LinkParams(**{key: value for key, value in given.items() if value is not None})


def _work(store: Path, work: Path | None) -> Path:
    return work or store.with_name(store.name + ".napari-sam")


def _tiles(folder: Path, name: str) -> Path:
    from napari_sam.volume.ome import check_name

    check_name(name)
    return folder / f"tiles-{name}"


def _stores(folder: Path) -> "list[TileStore]":
    from napari_sam.volume.store import TileStore

    paths = sorted(path for path in folder.glob("*-*") if path.is_dir())
    if not paths:
        raise StoreError(f"there are no tiles in {folder}: run embed or segment-volume first.")
    return [TileStore.open(path) for path in paths]


def _root(store: Path, image: "ImageRef", output: Path | None) -> Path:
    if output is None and image.zarr_format is None:
        raise typer.BadParameter(
            f"{store} is no OME-Zarr image, so labels cannot go into it: say where with --output"
            " FOLDER.zarr."
        )
    return output or store


def _same_image(tiles: "TileStore", image: "ImageRef") -> None:
    from dataclasses import replace

    from napari_sam.volume.sample import fingerprint

    found = {**fingerprint(image), "level": image.level}
    tiles.manifest.check(replace(tiles.manifest, image=found), str(tiles.path))


def _stitch(
    tiles: "TileStore", image: "ImageRef", root: Path, name: str, links: "LinkParams"
) -> None:
    from napari_sam.volume.pipelines import stitch_volume

    labels: LabelImage = _follow(stitch_volume(tiles, image, root, name, params=links))
    _say(f"{labels.count} objects in {labels.path}")


def _follow(job: "Generator[Step, None, _Result]") -> _Result:
    """Run a job with a bar; Ctrl+C stops it between two tiles."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with closing(job), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                result: _Result = end.value
                return result
            bar.update(
                task, completed=step.done, total=step.total or None, description=step.message
            )


def _say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)
