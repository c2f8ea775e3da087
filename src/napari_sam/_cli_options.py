"""What several commands share: exit codes, option types, and how their texts become values.

Knows the spelling of options; knows neither models nor files.
"""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from napari_sam.core.intensity import Intensity

__all__ = [
    "Backend",
    "BackendName",
    "Channels",
    "Device",
    "ExitCode",
    "Force",
    "ImagePath",
    "IntensityRange",
    "ModelName",
    "Overlay",
    "PlaneIndex",
    "Precision",
    "PrecisionName",
    "Verbose",
    "WeightsPath",
    "indices",
    "intensity_of",
    "numbers",
    "switch",
    "whole",
]

VERBOSE = "napari_sam.verbose"
_Number = TypeVar("_Number", int, float)


class ExitCode(IntEnum):
    """What the command ends with; scripts may rely on it. 0 is done, 2 is a wrong command line."""

    IMAGE = 3
    PROMPT = 4
    MODEL = 5
    MEMORY = 6
    OUTPUT = 7
    OTHER = 8
    STOPPED = 130  # by Ctrl+C, as shells have it


class Precision(StrEnum):
    """As in :func:`napari_sam.core.runtime.choose_runtime`."""

    EXACT = "exact"
    FAST = "fast"
    SMALLEST = "smallest"  # known, so that the refusal can say why


class Backend(StrEnum):
    """As in :func:`napari_sam.load_predictor`."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


def _remember_verbose(ctx: typer.Context, wanted: bool) -> None:
    ctx.meta[VERBOSE] = wanted


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        metavar="",
        callback=_remember_verbose,
        is_eager=True,
        help="On an error, show where.",
    ),
]
ModelName = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME", help="See: napari-sam models list.")
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="auto (a GPU if there is one), cpu, cuda, mps."),
]
PrecisionName = Annotated[
    Precision,
    typer.Option(
        "--precision",
        metavar="[exact|fast]",
        help="fast: bfloat16, about twice as fast, where CPU or GPU has it.",
    ),
]
BackendName = Annotated[
    Backend,
    typer.Option(
        "--backend",
        help="What computes the image embedding; all but torch on the CPU, if installed.",
    ),
]

ImagePath = Annotated[
    Path,
    typer.Argument(metavar="IMAGE", help="A .png, .jpg, .tif, .npy or .zarr (OME-Zarr)."),
]
WeightsPath = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Weights to use instead of the model's own."),
]
IntensityRange = Annotated[
    str,
    typer.Option(
        "--intensity",
        metavar="RANGE",
        help="What becomes black and white for the model: percentile (of the image),"
        " per-channel, as_is (8 bit), or two values low,high.",
    ),
]
Channels = Annotated[
    str | None,
    typer.Option("--channels", metavar="C,...", help="Channels to use, from 0. Default: all."),
]
PlaneIndex = Annotated[
    str | None, typer.Option("--plane", metavar="T,Z", help="Which plane of a stack, from 0.")
]
Overlay = Annotated[
    Path | None,
    typer.Option("--overlay", metavar="FILE", help="Also draw the objects over the image: .png"),
]
Force = Annotated[
    bool,
    typer.Option("--force", "-f", metavar="", help="Replace results that are there already."),
]


def whole(flag: str, least: int, help: str, panel: str, *, metavar: str = "N") -> Any:
    """An option that takes a whole number."""
    return typer.Option(flag, metavar=metavar, min=least, help=help, rich_help_panel=panel)


def switch(flag: str, help: str, panel: str) -> Any:
    """An option that takes nothing."""
    return typer.Option(flag, metavar="", help=help, rich_help_panel=panel)


def numbers(text: str, kind: Callable[[str], _Number], *, names: str) -> tuple[_Number, ...]:
    """Numbers between commas, such as ``120,85``.

    Parameters
    ----------
    text
        What was typed.
    kind
        ``int`` or ``float``.
    names
        What is wanted, such as ``y,x``: how many there must be, and for the message.

    Raises
    ------
    typer.BadParameter
        Other numbers, or another number of them.
    """
    try:
        values = tuple(kind(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != names.count(",") + 1:
        raise typer.BadParameter(f"{text!r} is not {names}: numbers between commas, no spaces.")
    return values


def indices(text: str | None) -> tuple[int, ...] | None:
    """Any number of whole numbers between commas; None stays None."""
    return None if text is None else numbers(text, int, names=text)


def intensity_of(text: str) -> "Intensity":
    """What ``--intensity`` says."""
    if text in ("percentile", "per-channel", "as_is"):
        return text  # type: ignore[return-value]
    low, high = numbers(text, float, names="low,high")
    return (low, high)
