"""The serial runner: work for all missing tiles of a store, in this process.

Several processes may run on one store: each claims a tile by a lock of the operating system, which
goes with the process when it dies. Knows neither models nor images.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from napari_sam.errors import ImageError
from napari_sam.progress import Progress
from napari_sam.volume.store import TileStore, plain_errors
from napari_sam.volume.work import Work

__all__ = ["Runner", "make", "run"]

Runner = Callable[[Work, TileStore], Generator[Progress, None, None]]
"""Does a work for all missing tiles of a store, as :func:`run` does."""

CLAIMS = "claims"
WAIT_S = 0.2


def run(
    work: Work, store: TileStore, *, only: Sequence[int] | None = None
) -> Generator[Progress, None, None]:
    """Make all missing tiles: a job that yields after each one.

    Closing the generator cancels; what is done stays. A tile whose pixels cannot be read is noted
    as failed and the others are made; running again tries it again.

    Parameters
    ----------
    work
        Makes a tile's result.
    store
        Says what is missing and takes the results.
    only
        Numbers of the tiles that are wanted; None: all.

    Raises
    ------
    StoreError
        The disk is full.
    NapariSamError
        Whatever the work raises, except :class:`ImageError`.
    """
    if only is None:
        total, missing = len(store), np.flatnonzero(~store.done()).tolist()
    else:
        total, missing = len(only), [index for index in only if not store.is_done(index)]
    finished = total - len(missing)
    yield Progress(finished, total, "tiles done")
    while missing:
        claimed = []
        for index in missing:
            message = make(work, store, index)
            if message is None:
                claimed.append(index)
                continue
            finished += 1
            yield Progress(finished, total, message)
        if len(claimed) == len(missing):
            time.sleep(WAIT_S)
            yield Progress(finished, total, "waiting for another process")
        missing = claimed


def make(work: Work, store: TileStore, index: int) -> str | None:
    """Make a tile unless it is there: what was done; None where another process is about to.

    Raises
    ------
    NapariSamError
        As :func:`run`.
    """
    tile = store.manifest.grid.tile(index)
    claim = store.path / CLAIMS / f"{index}.lock"
    try:
        with plain_errors(store.path), _claimed(claim):
            if store.is_done(index):
                return f"{tile.key} made by another process"
            try:
                result = work(tile)
            except ImageError as error:
                store.fail(index, str(error))
                return f"{tile.key} failed"
            store.write(index, result)
            with suppress(OSError):  # a system that keeps open files keeps this one
                claim.unlink()
    except Timeout:
        return None
    return tile.key


def _claimed(path: Path) -> FileLock:
    path.parent.mkdir(exist_ok=True)
    return FileLock(path, timeout=0, thread_local=False)
