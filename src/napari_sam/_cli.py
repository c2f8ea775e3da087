"""The command ``napari-sam``: puts the commands together, turns errors into exit codes.

Knows commands and codes; what they do is in ``_cli_segment``, ``_cli_auto``,
``_cli_embed``, ``_cli_segment_volume``, ``_cli_propagate``, ``_cli_status``, ``_cli_track``,
``_cli_replay``, ``_cli_models``, ``_cli_evaluate``, ``_cli_train`` and ``_demo``.
Importing it, and ``--help``, import no torch and no napari.
"""

import logging
import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

import napari_sam
from napari_sam import (
    _cli_auto,
    _cli_embed,
    _cli_evaluate,
    _cli_models,
    _cli_propagate,
    _cli_replay,
    _cli_segment,
    _cli_segment_volume,
    _cli_status,
    _cli_track,
    _cli_train,
)
from napari_sam._cli_options import VERBOSE, ExitCode
from napari_sam._cli_volume import PANEL
from napari_sam.errors import (
    ImageError,
    ModelError,
    NapariSamError,
    OutOfMemoryError,
    PromptError,
)

_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (ImageError, ExitCode.IMAGE),
    (PromptError, ExitCode.PROMPT),
    (ModelError, ExitCode.MODEL),
    (OutOfMemoryError, ExitCode.MEMORY),
    (NapariSamError, ExitCode.OTHER),
    (OSError, ExitCode.OUTPUT),
)


class _Reporting(TyperGroup):
    """Says an error of ours in one sentence and ends with its code; ``--verbose`` adds where."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (NapariSamError, OSError) as error:
            if ctx.meta.get(VERBOSE):
                traceback.print_exception(error)
            Console(stderr=True, highlight=False, soft_wrap=True).print(
                f"napari-sam: {error}", markup=False, style="red"
            )
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            raise typer.Exit(code) from error


app = typer.Typer(
    cls=_Reporting,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-sam {napari_sam.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Say which version.",
        ),
    ] = False,
) -> None:
    """Segment Anything for scientific images: point at an object, get its outline.

    Nothing is sent anywhere: everything is computed on this machine, and the model that comes with
    the package needs no download.

    Try it:

        napari-sam demo
        napari-sam segment cells.tif --point 120,85 -o labels.tif
        napari-sam auto cells.tif -o labels.tif

    Exit codes:

    * 0: done
    * 2: the command line is wrong
    * 3: the image cannot be read
    * 4: a point or box does not fit the image
    * 5: the model or its weights cannot be used
    * 6: not enough memory
    * 7: the result cannot be written
    * 8: anything else that is known to go wrong
    * 130: stopped by Ctrl+C; of volumes, what is done is kept
    """
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


app.command("segment")(_cli_segment.segment)
app.command("auto")(_cli_auto.auto)
app.command("replay")(_cli_replay.replay)
app.add_typer(_cli_models.app, name="models")
app.command("evaluate")(_cli_evaluate.evaluate)
for _name in ("finetune", "train", "pretrain", "pack"):
    app.command(_name, rich_help_panel=_cli_train.PANEL, context_settings=_cli_train.SETTINGS)(
        getattr(_cli_train, _name)
    )
app.command("embed", rich_help_panel=PANEL)(_cli_embed.embed)
app.command("segment-volume", rich_help_panel=PANEL)(_cli_segment_volume.segment_volume)
app.command("propagate", rich_help_panel=PANEL)(_cli_propagate.propagate)
app.command("stitch", rich_help_panel=PANEL)(_cli_segment_volume.stitch)
app.command("status", rich_help_panel=PANEL)(_cli_status.status)
app.command("verify", rich_help_panel=PANEL)(_cli_status.verify)
app.command("track", rich_help_panel=PANEL)(_cli_track.track)


@app.command("demo")
def _demo(
    out: Annotated[
        str, typer.Option("--out", help="Folder for the results; made if it is not there.")
    ] = "napari-sam-demo",
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Replace the results of an earlier demo.")
    ] = False,
    no_window: Annotated[
        bool,
        typer.Option(
            "--no-window", metavar="", help="Never open napari, also where there is a display."
        ),
    ] = False,
) -> None:
    """Segment an image that comes with the package, offline.

    Finds bright spots, clicks on each, and writes labels.tif and overlay.png. Where there is a
    display and napari is installed, napari opens on the result.
    """
    from pathlib import Path

    from napari_sam._demo import run_demo

    run_demo(Path(out), force=force, window=not no_window)


def main() -> None:
    """Entry point of the console script."""
    app()
