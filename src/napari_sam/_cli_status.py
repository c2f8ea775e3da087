"""``napari-sam status | verify``: what is there of a volume's tiles, and whether it is whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from napari_sam._cli_options import Verbose
from napari_sam._cli_volume import Store, Work, say, watch, work_folder
from napari_sam.errors import StoreError

if TYPE_CHECKING:
    from napari_sam.volume.store import TileStore


def status(store: Store, work: Work = None, verbose: Verbose = False) -> None:
    """Show what is done, missing and failed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tiles of", no_wrap=True, style="cyan")
    table.add_column("model", no_wrap=True)
    for column in ("done", "missing", "failed", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    reasons = []
    for tiles in _stores(work_folder(store, work)):
        done, failures = int(tiles.done().sum()), tiles.failures()
        missing = len(tiles) - done - len(failures)
        size = f"{tiles.bytes_on_disk() / 1e6:,.1f}"
        name = tiles.manifest.model["name"]
        table.add_row(tiles.path.name, name, str(done), str(missing), str(len(failures)), size)
        grid = tiles.manifest.grid
        reasons += [f"{tiles.path.name}: {grid.tile(i).key}: {why}" for i, why in failures.items()]
    Console().print(table)
    for reason in reasons:
        say(reason)


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
    for tiles in _stores(work_folder(store, work)):
        damaged = watch(tiles.verify(repair=repair))
        for index, reason in damaged.items():
            say(f"{tiles.path.name}: {tiles.manifest.grid.tile(index).key}: {reason}")
        say(f"{tiles.path.name}: {int(tiles.done().sum())} tiles, {len(damaged)} damaged")
        bad += len(damaged)
    if bad:
        cure = "run the command that made them again" if repair else "run this with --repair"
        raise StoreError(f"{bad} tiles are damaged: {cure}.")


def _stores(folder: Path) -> "list[TileStore]":
    from napari_sam.volume.store import TileStore

    paths = sorted(path for path in folder.glob("*-*") if path.is_dir())
    if not paths:
        raise StoreError(f"there are no tiles in {folder}: run embed or segment-volume first.")
    return [TileStore.open(path) for path in paths]
