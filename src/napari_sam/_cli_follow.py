"""A job under a bar on standard error. Knows rich and progress; not what the job does."""

from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from napari_sam.progress import Progress

__all__ = ["follow"]

_Result = TypeVar("_Result")


def follow(
    job: Generator[Progress, None, _Result],
    *between: ProgressColumn,
    start: str = "starting",
    transient: bool = False,
) -> _Result:
    """Run a job to its end, watched; its result. Ctrl+C closes it between two steps.

    Parameters
    ----------
    job
        What to run.
    between
        Columns to show between the bar and the time that is left.
    start
        What is said before the first step.
    transient
        Take the bar away at the end.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), *between, TimeRemainingColumn())
    console = Console(stderr=True)
    with closing(job), Bar(*columns, console=console, transient=transient) as bar:
        task = bar.add_task(start, total=None)
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                result: _Result = end.value
                return result
            bar.update(
                task, completed=step.done, total=step.total or None, description=step.message
            )
