"""What several commands share: exit codes, option types, and how their texts become values.

Knows the spelling of options; knows neither models nor files.
"""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Annotated, TypeVar

import typer

__all__ = [
    "Backend",
    "BackendName",
    "Device",
    "ExitCode",
    "ModelName",
    "Precision",
    "PrecisionName",
    "Verbose",
    "numbers",
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
