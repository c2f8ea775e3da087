"""``napari-sam auto``: an image file in, all its objects out, in one or several formats.

Knows the options and what is told to the user; the generator, files and formats are other modules.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

import napari_sam
from napari_sam._cli_follow import follow
from napari_sam._cli_groups import grouped
from napari_sam._cli_models import Engine
from napari_sam._cli_options import (
    Channels,
    Force,
    ImagePath,
    IntensityRange,
    Overlay,
    PlaneIndex,
    Verbose,
    indices,
    intensity_of,
    switch,
    whole,
)
from napari_sam._record_files import Format, Result, Target, format_of, suffixes_of
from napari_sam._record_files import Overlap as OverlapRule
from napari_sam.core.params import AutomaticParams
from napari_sam.core.registry import get_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_sam.core.masks import MaskRecord
    from napari_sam.core.predictor import Predictor

_GRID, _FILTER, _RESULT = "Where to ask", "What stays", "Results"


class Level(StrEnum):
    """Which of objects that lie in each other."""

    ALL = "all"
    WHOLE = "whole"
    PART = "part"
    SUBPART = "subpart"


def _share(flag: str, help: str, panel: str = _FILTER) -> Any:
    return typer.Option(flag, metavar="X", min=0.0, help=help, rich_help_panel=panel)


Outputs = Annotated[
    list[Path],
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Repeatable. .tif, .png, .npy, .zarr: labels; .json: records; .coco.json; .geojson.",
        rich_help_panel=_RESULT,
    ),
]
Kinds = Annotated[
    list[Format] | None,
    typer.Option(
        "--format",
        help="What the files hold, where their ending does not say it: one for all, or one each.",
        rich_help_panel=_RESULT,
    ),
]
Points = Annotated[int | None, whole("--points-per-side", 1, "Points a side of the grid.", _GRID)]
Batch = Annotated[int | None, whole("--points-per-batch", 1, "Points asked at once.", _GRID)]
Layers = Annotated[
    int | None, whole("--crop-n-layers", 0, "Layers of crops: 4, 16, ... of them.", _GRID)
]
CropOverlap = Annotated[
    float | None, _share("--crop-overlap-ratio", "Overlap of crops, as a share.", _GRID)
]
Downscale = Annotated[
    int | None,
    whole("--crop-n-points-downscale-factor", 1, "Fewer points a side in crops.", _GRID),
]
Adaptive = Annotated[
    bool, switch("--adaptive", "Coarse first; then only where something may be.", _GRID)
]
LeastIou = Annotated[float | None, _share("--pred-iou-thresh", "Least IoU the model expects.")]
LeastStability = Annotated[float | None, _share("--stability-score-thresh", "Least stability.")]
Offset = Annotated[
    float | None, _share("--stability-score-offset", "Shift of the threshold that tests it.")
]
BoxNms = Annotated[
    float | None, _share("--box-nms-thresh", "Boxes that overlap more are one object.")
]
CropNms = Annotated[float | None, _share("--crop-nms-thresh", "The same, between crops.")]
SmallRegions = Annotated[
    int | None,
    whole("--min-mask-region-area", 0, "Fill holes, drop islands below so many pixels.", _FILTER),
]
LevelChoice = Annotated[
    Level, typer.Option("--level", help="Of objects in objects.", rich_help_panel=_FILTER)
]
LeastArea = Annotated[int, whole("--min-area", 0, "Smallest object, in pixels.", _FILTER)]
MostArea = Annotated[int | None, whole("--max-area", 1, "Largest object, in pixels.", _FILTER)]
Border = Annotated[
    bool, switch("--drop-border", "Leave out objects that touch the border.", _FILTER)
]
OverlapChoice = Annotated[
    OverlapRule,
    typer.Option(
        "--overlap",
        help="What labels show of two objects; layers: both, in several images (.tif, .npy).",
        rich_help_panel=_RESULT,
    ),
]


@dataclass(frozen=True)
class Source:
    """The image as the command line names it."""

    image: ImagePath
    intensity: IntensityRange = "percentile"
    channels: Channels = None
    plane: PlaneIndex = None

    def read(self) -> "NDArray[np.uint8]":
        """What the model sees, (H, W, 3)."""
        from napari_sam._image_files import read_plane

        intensity, channels = intensity_of(self.intensity), indices(self.channels)
        pixels = read_plane(self.image, indices(self.plane))
        return napari_sam.to_picture(pixels, intensity=intensity, channels=channels)


@dataclass(frozen=True)
class Finding:
    """Settings of the generator, by their names there; None is the model's default."""

    points_per_side: Points = None
    points_per_batch: Batch = None
    crop_n_layers: Layers = None
    crop_overlap_ratio: CropOverlap = None
    crop_n_points_downscale_factor: Downscale = None
    adaptive: Adaptive = False
    pred_iou_thresh: LeastIou = None
    stability_score_thresh: LeastStability = None
    stability_score_offset: Offset = None
    box_nms_thresh: BoxNms = None
    crop_nms_thresh: CropNms = None
    min_mask_region_area: SmallRegions = None
    level: LevelChoice = Level.ALL

    def params(self, model: str) -> AutomaticParams:
        """The model's defaults with what was given."""
        return params_of(model, asdict(self) | {"level": self.level.value})


def params_of(model: str, given: Mapping[str, Any]) -> AutomaticParams:
    """A model's defaults, changed by what is not None."""
    changes = {name: value for name, value in given.items() if value is not None}
    return AutomaticParams.for_model(get_spec(model)).changed(**changes)


@dataclass(frozen=True)
class Choice:
    """Which records stay, beyond the generator's own filters."""

    min_area: LeastArea = 0
    max_area: MostArea = None
    drop_border: Border = False

    def of(
        self, records: "Sequence[MaskRecord]", shape: tuple[int, int]
    ) -> "tuple[MaskRecord, ...]":
        """Those that do."""
        from napari_sam.core.masks import fitting

        return tuple(fitting(records, shape, self.min_area, self.max_area, self.drop_border))


@dataclass(frozen=True)
class Places:
    """Where the results go."""

    output: Outputs
    format: Kinds = None
    overlay: Overlay = None
    overlap: OverlapChoice = OverlapRule.SMALLER
    force: Force = False

    def targets(self) -> list[Target]:
        """The files but for the overlay, and what each holds."""
        kinds = self.format or []
        if len(kinds) not in (0, 1, len(self.output)):
            raise typer.BadParameter("give one --format for all files, or one for each --output.")
        each = list(kinds) * (len(self.output) if len(kinds) == 1 else 1)
        return [
            _target(path, kind, self.overlap)
            for path, kind in zip(self.output, each or map(format_of, self.output), strict=True)
        ]


@grouped
def auto(
    source: Source,
    places: Places,
    engine: Engine,
    finding: Finding,
    choice: Choice,
    verbose: Verbose = False,
) -> None:
    """Find all objects of an image.

    A grid of points is asked; what passes the thresholds stays. What you do not set is as the
    model's authors advise.

        napari-sam auto cells.tif -o labels.tif --overlay look.png

    Easier to please, and more formats at once:

        napari-sam auto cells.tif -o cells.json -o cells.geojson --pred-iou-thresh 0.7

    Many small objects on a large image; leave out what is cut by the border:

        napari-sam auto slide.tif -o labels.zarr --crop-n-layers 1 --drop-border

    Labels and ids are 1, 2, ... in the order in which the objects were found, in all files.
    """
    from napari_sam._record_files import write_all
    from napari_sam.core.automatic import generate

    params = finding.params(engine.model)
    targets = places.targets()
    _check_places(source.image, targets, places)
    picture = source.read()
    predictor = engine.load()
    started = time.perf_counter()
    found = follow(generate(picture, predictor, params, intensity="as_is"))
    shape = (picture.shape[0], picture.shape[1])
    provenance = _provenance(source, predictor, engine.weights, params, choice)
    records = choice.of(found, shape)
    result = Result(records, shape, source.image.name, places.overlap, provenance)
    write_all(targets, result, overlay=places.overlay, picture=picture)
    _tell(targets, places.overlay, result, len(found), predictor, time.perf_counter() - started)


def _target(path: Path, kind: Format | None, overlap: OverlapRule) -> Target:
    kinds = Format if kind is None else (kind,)
    endings = [end for one in kinds for end in suffixes_of(one, overlap)]
    if kind is None or path.suffix.lower() not in endings:
        raise typer.BadParameter(f"{path} must end in {' or '.join(dict.fromkeys(endings))}.")
    return Target(path, kind)


def _check_places(image: Path, targets: Sequence[Target], places: Places) -> None:
    """Everything that would make the result useless is said before the computation."""
    from napari_sam._result_files import PICTURE_SUFFIXES, check_output

    overlay = places.overlay
    if overlay is not None and overlay.suffix.lower() not in PICTURE_SUFFIXES:
        raise typer.BadParameter(f"{overlay} must end in {' or '.join(PICTURE_SUFFIXES)}.")
    paths = [target.path for target in targets] + ([overlay] if overlay else [])
    if len(set(paths)) != len(paths):
        raise typer.BadParameter("two results have the same file.")
    for path in paths:
        check_output(path, force=places.force, source=image)
    if any(target.format is Format.COCO for target in targets):
        from napari_sam.extras.coco import require

        require()


def _provenance(
    source: Source,
    predictor: "Predictor",
    weights: Path | None,
    params: AutomaticParams,
    choice: Choice,
) -> dict[str, Any]:
    from napari_sam.core.weights import find

    path = weights or find(predictor.spec)
    return {
        "version": napari_sam.__version__,
        "image": source.image.name,
        "plane": source.plane,
        "model": predictor.spec.name,
        "weights": path.name if path else None,
        "weights_sha256": _sha256(path) if path else None,
        "runtime": predictor.runtime.describe(),
        "intensity": source.intensity,
        "channels": source.channels,
        "params": asdict(params),
        **asdict(choice),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tell(
    targets: Sequence[Target],
    overlay: Path | None,
    result: Result,
    found: int,
    predictor: "Predictor",
    seconds: float,
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    count = len(result.records)
    plural = "object" if count == 1 else "objects"
    left = f" ({found - count} left out by size or border)" if found != count else ""
    console.print(
        f"{count} {plural}{left} with {predictor.spec.name}, {predictor.runtime.describe()};"
        f" {seconds:.1f} s",
        markup=False,
    )
    for target in targets:
        console.print(f"{target.format.value} in {target.path}", markup=False)
    if overlay is not None:
        console.print(f"overlay in {overlay}", markup=False)
    if not found:
        console.print("Nothing passed: lower --pred-iou-thresh or --stability-score-thresh.")
