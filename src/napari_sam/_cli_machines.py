"""Options that say which machines make tiles, and the runner that they mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sam._cli_options import whole

if TYPE_CHECKING:
    from napari_sam.volume.run import Runner

__all__ = ["Machines"]

_PANEL = "Many machines"

Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Let the workers of a dask scheduler make the tiles: tcp://host:8786.",
        rich_help_panel=_PANEL,
    ),
]
Workers = Annotated[
    int | None, whole("--workers", 1, "Or so many processes of this machine.", _PANEL)
]


@dataclass(frozen=True)
class Machines:
    """Who makes the tiles: this process, others of this machine, or others elsewhere."""

    scheduler: Scheduler = None
    workers: Workers = None

    @contextmanager
    def runner(self) -> Iterator["Runner"]:
        """What makes tiles; workers of our own end with it.

        Raises
        ------
        MissingExtraError
            dask is not installed.
        ClusterError
            The scheduler does not answer.
        """
        if self.scheduler is not None and self.workers is not None:
            raise typer.BadParameter("take either --scheduler or --workers.")
        if self.scheduler is None and self.workers is None:
            from napari_sam.volume.run import run

            yield run
            return
        from napari_sam.volume.distributed import connect, local_workers

        cluster = connect(self.scheduler) if self.scheduler else local_workers(self.workers or 1)
        with cluster as runner:
            yield runner
