"""``napari-sam segment``: an image file and prompts in, a label image out.

Knows the options and what is told to the user; objects, files and the model are other modules.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import napari_sam
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
    numbers,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_sam._objects import ObjectPrompt
    from napari_sam.core.intensity import Intensity
    from napari_sam.core.predictor import MaskPrediction, Predictor

    Labels = NDArray[np.uint32]

MOST_ROWS = 20


Points = Annotated[
    list[str] | None,
    typer.Option("--point", "-p", metavar="Y,X", help="A pixel on the object. Repeatable."),
]
Negatives = Annotated[
    list[str] | None,
    typer.Option("--negative", "-n", metavar="Y,X", help="A pixel beside it. Repeatable."),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        "-b",
        metavar="Y0,X0,Y1,X1",
        help="Around one object. Repeatable: more objects.",
    ),
]
Each = Annotated[
    bool, typer.Option("--each", metavar="", help="Every --point is an object of its own.")
]
LabelsPath = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FILE", help="The label image: .tif, .png, .npy or .zarr."
    ),
]


@grouped
def segment(
    image: ImagePath,
    output: LabelsPath,
    *,
    point: Points = None,
    negative: Negatives = None,
    box: Boxes = None,
    each: Each = False,
    engine: Engine,
    intensity: IntensityRange = "percentile",
    channels: Channels = None,
    plane: PlaneIndex = None,
    overlay: Overlay = None,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Segment the objects that you point at.

    Positions are pixels, y (down) before x (right), from 0 at the top left: what napari shows in
    its status bar.

    One object, said by points; a negative point says what does not belong to it:

        napari-sam segment cells.tif --point 120,85 --negative 150,85 -o labels.tif

    Three objects, one for each point:

        napari-sam segment cells.tif --each -p 120,85 -p 40,200 -p 77,31 -o labels.tif

    Boxes are one object each; points refine the object in whose box they lie:

        napari-sam segment cells.tif -b 100,60,140,110 -b 20,180,60,220 -o labels.zarr

    Plane 3 of time point 0, with a picture to look at:

        napari-sam segment movie.ome.tif --plane 0,3 -p 120,85 -o labels.tif --overlay look.png

    The first object gets label 1, the second 2, and so on; where they overlap the surer one stays.
    """
    from napari_sam._image_files import read_plane
    from napari_sam._objects import check_objects

    objects = _objects(point or [], negative or [], box or [], each=each)
    view = View(intensity_of(intensity), indices(channels))
    _check_places(image, output, overlay, force=force)
    pixels = read_plane(image, indices(plane))
    check_objects(objects, (pixels.shape[0], pixels.shape[1]))
    predictor = engine.load()
    prediction, labels, seconds = _predict(predictor, pixels, view, objects)
    provenance = _provenance(image, plane, predictor, engine.weights, intensity, channels, objects)
    _write(output, overlay, labels, pixels, view, provenance)
    _tell(output, overlay, predictor, prediction, seconds)


@dataclass(frozen=True)
class View:
    """How pixel values become what the model sees."""

    intensity: "Intensity"
    channels: tuple[int, ...] | None


def _predict(
    predictor: "Predictor",
    pixels: "NDArray[Any]",
    view: View,
    objects: "Sequence[ObjectPrompt]",
) -> "tuple[MaskPrediction, Labels, tuple[float, float]]":
    """The prediction, its label image, and the seconds that the image and the objects took."""
    from napari_sam._objects import decode_objects

    started = time.perf_counter()
    with Console(stderr=True).status("computing the image embedding"):
        embedding = predictor.encode(pixels, intensity=view.intensity, channels=view.channels)
    encoded = time.perf_counter()
    prediction = decode_objects(predictor, embedding, objects)
    labels = prediction.to_labels()
    return prediction, labels, (encoded - started, time.perf_counter() - encoded)


def _write(
    output: Path,
    overlay: Path | None,
    labels: "Labels",
    pixels: "NDArray[Any]",
    view: View,
    provenance: dict[str, Any],
) -> None:
    from napari_sam._result_files import (
        draw_overlay,
        labels_writer,
        picture_writer,
        write_together,
    )

    files = [(output, labels_writer(output, labels, provenance=provenance))]
    if overlay is not None:
        picture = napari_sam.to_picture(pixels, intensity=view.intensity, channels=view.channels)
        files.append((overlay, picture_writer(draw_overlay(picture, labels))))
    write_together(files)


def _objects(
    point: Sequence[str], negative: Sequence[str], box: Sequence[str], *, each: bool
) -> "list[ObjectPrompt]":
    from napari_sam._objects import objects_of

    if each and box:
        raise typer.BadParameter("--each is for points; boxes are one object each anyway.")
    if not point and not box:
        raise typer.BadParameter("say where the object is: --point Y,X or --box Y0,X0,Y1,X1.")
    return objects_of(
        [numbers(text, float, names="y,x") for text in point],  # type: ignore[misc]
        [numbers(text, float, names="y,x") for text in negative],  # type: ignore[misc]
        [numbers(text, float, names="y0,x0,y1,x1") for text in box],  # type: ignore[misc]
        each=each,
    )


def _check_places(image: Path, output: Path, overlay: Path | None, *, force: bool) -> None:
    """Everything that would make the result useless is said before the computation."""
    from napari_sam._result_files import LABEL_SUFFIXES, PICTURE_SUFFIXES, check_output

    wanted = ((output, LABEL_SUFFIXES), (overlay, PICTURE_SUFFIXES))
    for path, suffixes in wanted:
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise typer.BadParameter(f"{path} must end in {' or '.join(suffixes)}.")
        check_output(path, force=force, source=image)
    if output == overlay:
        raise typer.BadParameter("--output and --overlay are the same file.")


def _provenance(
    image: Path,
    plane: str | None,
    predictor: "Predictor",
    weights: Path | None,
    intensity: str,
    channels: str | None,
    objects: "Sequence[ObjectPrompt]",
) -> dict[str, Any]:
    return {
        "version": napari_sam.__version__,
        "image": image.name,
        "plane": plane,
        "model": predictor.spec.name,
        "weights": weights.name if weights else predictor.spec.file_name,
        "runtime": predictor.runtime.describe(),
        "intensity": intensity,
        "channels": channels,
        "objects": [
            {"positive": one.positive, "negative": one.negative, "box": one.box} for one in objects
        ],
    }


def _tell(
    output: Path,
    overlay: Path | None,
    predictor: "Predictor",
    prediction: "MaskPrediction",
    seconds: tuple[float, float],
) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("label", "pixels", "score"):
        table.add_column(title, justify="right")
    count = len(prediction.scores)
    for index in range(min(count, MOST_ROWS)):
        area = int(prediction.mask(index).sum())
        table.add_row(str(index + 1), str(area), f"{prediction.scores[index, 0]:.2f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    if count > MOST_ROWS:
        console.print(f"... and {count - MOST_ROWS} more")
    plural = "object" if count == 1 else "objects"
    console.print(
        f"{count} {plural} in {output}"
        f" ({predictor.spec.name}, {predictor.runtime.describe()};"
        f" image {seconds[0]:.2f} s, objects {seconds[1]:.2f} s)",
        markup=False,
    )
    if overlay is not None:
        console.print(f"overlay in {overlay}", markup=False)
