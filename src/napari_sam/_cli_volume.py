"""What the commands on volumes share: groups of options, where results lie, what is told.

Knows options and folders; the commands are in ``_cli_embed``, ``_cli_segment_volume`` and
``_cli_status``, the jobs in ``volume``.
"""

import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn

from napari_sam._cli_follow import follow
from napari_sam._cli_models import Engine
from napari_sam._cli_options import (
    Channels,
    ExitCode,
    IntensityRange,
    indices,
    intensity_of,
    whole,
)
from napari_sam.core.registry import get_spec
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.volume.image import ImageRef
    from napari_sam.volume.pipelines import VolumeJob

__all__ = ["PANEL", "Cut", "Store", "Work", "embeddings_folder", "folder_here", "open_image",
           "say", "watch", "work_folder"]  # fmt: skip

PANEL = "Volumes"
_TILES = "How it is cut"
_Result = TypeVar("_Result")

Store = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="The image: OME-Zarr (0.4 or 0.5), zarr, .npy or a (Big, OME-) TIFF; with extras also"
        " CZI, ND2, DICOM, NIfTI, and s3:// or https://.",
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work",
        metavar="FOLDER",
        help="For the tiles. Default: STORE.napari-sam, beside it (of an address: here).",
    ),
]
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
Side = Annotated[int | None, whole("--tile", 1, "Side of the tiles.", _TILES, metavar="PIXELS")]
Halo = Annotated[
    int | None,
    whole(
        "--halo",
        0,
        "What a tile sees of its neighbours; best as large as an object.",
        _TILES,
        metavar="PIXELS",
    ),
]


@dataclass(frozen=True)
class Cut:
    """What is seen of the volume, and how it is cut into tiles."""

    intensity: IntensityRange = "percentile"
    channels: Channels = None
    axes: Axes = None
    level: Scale = None
    tile: Side = None
    halo: Halo = None

    def image(self, store: str) -> "ImageRef":
        """The volume."""
        return open_image(store, self.axes, self.level)

    def job(self, image: "ImageRef", engine: Engine) -> "VolumeJob":
        """What is done with what; the tiles are as large as the model likes them."""
        from napari_sam.volume.intensity import VolumeIntensity
        from napari_sam.volume.pipelines import VolumeJob
        from napari_sam.volume.tiles import usual_tiles

        choice = engine.choice()
        measured = VolumeIntensity.measure(
            image, intensity_of(self.intensity), channels=indices(self.channels)
        )
        seen = get_spec(engine.model).image_size
        margin = usual_tiles(seen)[1] if self.halo is None else self.halo
        side = max(1, seen - 2 * margin) if self.tile is None else self.tile
        return VolumeJob(image, measured, choice, side, margin)


def open_image(store: str, axes: str | None, level: int | None) -> "ImageRef":
    """The volume, looked at but not read."""
    from napari_sam.volume.image import ImageRef

    return ImageRef.open(store, axes=axes, level=level)


def work_folder(store: str, work: Path | None) -> Path:
    """Where the tiles of a volume are."""
    from napari_sam.volume.remote import is_address, name_of

    if work is not None:
        return folder_here(work, "--work")
    image = Path(name_of(store)) if is_address(store) else Path(store)
    return image.with_name(image.name + ".napari-sam")


def folder_here(folder: Path, option: str) -> Path:
    """The folder, unless it is an address: a path would make folders of its parts."""
    if re.match(r"\w{2,}:/", folder.as_posix()):
        raise typer.BadParameter(
            f"{option} {folder}: results are written to disks that this machine sees, not to"
            " addresses. Take a folder, and copy it there when it is complete: aws s3 sync."
        )
    return folder


def embeddings_folder(store: str, work: Path | None, model: str) -> Path:
    """Where the embeddings of a model are."""
    return work_folder(store, work) / f"embeddings-{model}"


def watch(job: "Generator[Progress, None, _Result]", *, kept: str = "") -> _Result:
    """Run a job to its end under a bar that counts.

    ``kept`` names the steps of a job that goes on where it was: Ctrl+C says how many are done.
    """
    last = [Progress(0, 0)]
    try:
        return follow(_noted(job, last), MofNCompleteColumn())
    except KeyboardInterrupt:
        if not kept:
            raise
        done = f"{last[0].done} of {last[0].total} {kept} are done" if last[0].total else "Stopped"
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"{done}. What is done is kept: the same command goes on from there.", markup=False
        )
        raise typer.Exit(ExitCode.STOPPED) from None


def _noted(
    job: "Generator[Progress, None, _Result]", last: list[Progress]
) -> "Generator[Progress, None, _Result]":
    """The job, and its last step in ``last``."""
    with closing(job):
        while True:
            try:
                last[0] = next(job)
            except StopIteration as end:
                result: _Result = end.value
                return result
            yield last[0]


def say(text: str) -> None:
    """Tell the user, on standard output."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False)
