"""``napari-sam replay``: the labels of a journal again, with the same or another model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam._cli_options import (
    Backend,
    BackendName,
    Device,
    Force,
    Precision,
    PrecisionName,
    Verbose,
    WeightsPath,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_sam._document import Document
    from napari_sam._predict import Plane

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The labels: .tif or .npy.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Ask this model; do not take the masks that were kept."),
]
ImageFile = Annotated[
    Path | None,
    typer.Option("--image", metavar="FILE", help="The image, if it is not where it was."),
]


def replay(
    journal: Annotated[Path, typer.Argument(metavar="JOURNAL", help="A .jsonl file.")],
    output: Output,
    model: Model = None,
    image: ImageFile = None,
    weights: WeightsPath = None,
    device: Device = "auto",
    precision: PrecisionName = Precision.EXACT,
    backend: BackendName = Backend.AUTO,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Make the labels of an annotation session again from its journal.

    The dock writes a journal beside the image, in a folder that ends in .napari-sam. Without a
    model the labels are exactly those of the session, and the image is not needed:

        napari-sam replay cells.tif.napari-sam/20260102-101500-000000.jsonl -o labels.tif

    With a model every prompt is asked again, every other step is done again:

        napari-sam replay JOURNAL -o labels.tif --model vit_b
    """
    from napari_sam import _replay
    from napari_sam._journal import read_journal
    from napari_sam._result_files import check_output, write_labels
    from napari_sam.progress import finish

    if output.suffix.lower() not in (".tif", ".tiff", ".npy"):
        raise typer.BadParameter("the labels go to a .tif or .npy file.", param_hint="--output")
    lines = read_journal(journal)
    check_output(output, force=force, source=Path(lines.source.path) if lines.source.path else None)
    left_out: list[str] = []
    if model is None:
        document = _replay.replay(lines)
    else:
        from napari_sam._cli_models import load

        read = _reader(image or Path(lines.source.path), lines.source.shape)
        predictor = load(model, weights, device, precision, backend)
        document, left_out = finish(_replay.replay_with(lines, predictor, read))
    provenance = {"journal": journal.name, "model": model or "as in the journal"}
    write_labels(output, _values(document), provenance=provenance)
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    typer.echo(f"{output}: {len(document.objects)} objects, {len(document.history)} steps")


def _reader(path: Path, shape: tuple[int, ...]) -> Any:
    """Reads planes of the image. Which of a file's axes are a layer's is known by its shape."""
    from napari_sam._image_files import read_plane
    from napari_sam.errors import ImageError

    def read(plane: "Plane") -> Any:
        hidden = tuple(index for axis, index in enumerate(plane.index) if axis not in plane.axes)
        if plane.axes != (len(shape) - 2, len(shape) - 1):
            raise ImageError(f"{path}: planes other than yx cannot be read from a file yet.")
        pixels = read_plane(path, hidden or None)
        if pixels.shape[:2] != plane.size:
            raise ImageError(f"{path} has {pixels.shape[:2]} pixels, the journal {plane.size}.")
        return pixels

    return read


def _values(document: "Document") -> "NDArray[np.uint32]":
    labels = document.labels
    assert labels is not None
    return labels.read(tuple(slice(0, n) for n in labels.shape))
