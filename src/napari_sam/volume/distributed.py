"""The runner on many machines: work for all missing tiles of a store, on dask.distributed.

Each tile is a task. A worker opens image and store by their paths, makes the tile and writes it, so
nothing but the number of the tile travels, and what was made is there whatever dies next. Few tiles
are handed out ahead: the scheduler's load does not grow with the volume. Needs the extra
``distributed``; knows neither models nor images.
"""

import logging
import os
import pickle
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from napari_sam.errors import ClusterError, NapariSamError, missing_extra
from napari_sam.progress import Progress
from napari_sam.volume.run import WAIT_S, make
from napari_sam.volume.store import TileStore, reopen
from napari_sam.volume.work import Work

try:
    import distributed
    from distributed.comm.core import CommClosedError
except ImportError as error:
    raise missing_extra("Many machines", "dask", "distributed") from error

__all__ = ["ClusterRunner", "connect", "local_workers"]

AHEAD = 2  # tiles at each worker: one in work, one that waits
RETRIES = 2  # after what may pass, such as a file system that does not answer
LOOK_S = 1.0  # how often a job is awake while nothing ends, and workers are counted
ANSWER_S = 10
MOST_BYTES = 4_000_000  # of a task
_ALONE = threading.Lock()  # a process makes one tile at a time: a model uses all of its threads


@dataclass(frozen=True, eq=False)
class ClusterRunner:
    """Makes tiles on the workers of a dask scheduler; a :data:`~napari_sam.volume.run.Runner`.

    Workers must see the image, the store and the weights under the same paths as this process.

    Attributes
    ----------
    client
        Of the scheduler.
    """

    client: "distributed.Client"

    def __call__(self, work: Work, store: TileStore) -> Generator[Progress, None, None]:
        """Make all missing tiles: a job like :func:`napari_sam.volume.run.run`.

        A tile whose worker dies is made by another one. A tile that several workers died of is
        noted as failed. Closing the job takes back what was handed out.

        Raises
        ------
        ClusterError
            The scheduler is gone, or workers cannot work.
        NapariSamError
            As of the serial runner.
        """
        total = len(store)
        missing = deque(np.flatnonzero(~store.done()).tolist())
        finished = total - len(missing)
        yield Progress(finished, total, "tiles done")
        running: dict[distributed.Future[Any], int] = {}
        hand_out = self._hand_out(work, store)
        try:
            while missing or running:
                workers = hand_out(missing, running)
                for future in self._ended(running):
                    index = running.pop(future)
                    message = _outcome(future, store, index)
                    if message is None:  # another process is about to make it
                        missing.append(index)
                    finished += message is not None
                    yield Progress(finished, total, message or "waiting for another process")
                said = f"{workers} workers" if workers else "waiting for workers"
                yield Progress(finished, total, said)
        finally:
            with suppress(Exception):  # the scheduler may be what is gone
                self.client.cancel(list(running))

    def spread(
        self, function: Any, calls: Iterable[tuple[Any, ...]], *, keep: bool = False
    ) -> Generator[int, None, list[Any]]:
        """Call a function on the workers: see :class:`~napari_sam.volume.stitching.Workers`.

        What is kept lies in the memory of the workers, and is made again where one of them dies.

        Raises
        ------
        ClusterError
            The scheduler is gone, or workers die of it.
        NapariSamError
            As of the function.
        """
        run = f"{function.__name__.strip('_')}-{uuid.uuid4().hex[:8]}"
        waiting = enumerate(calls)
        running: dict[distributed.Future[Any], int] = {}
        answers: dict[int, Any] = {}
        try:
            while True:
                free = AHEAD * self._workers() - len(running)
                for number, arguments in islice(waiting, max(0, free)):
                    future = self.client.submit(
                        function, *arguments, key=f"{run}-{number}", retries=RETRIES, pure=False
                    )
                    running[future] = number
                yield len(answers)
                if not running and free > 0:
                    return [answers[number] for number in sorted(answers)]
                for future in self._ended(running):
                    fetched = None if keep and future.status == "finished" else _called(future)
                    answers[running.pop(future)] = future if keep else fetched
        finally:
            with suppress(Exception):  # the scheduler may be what is gone
                self.client.cancel(list(running))

    def _hand_out(
        self, work: Work, store: TileStore
    ) -> Callable[[deque[int], dict["distributed.Future[Any]", int]], int]:
        """Gives workers what they can take; answers how many there are."""
        run = uuid.uuid4().hex[:8]  # keys of another run may be known to the scheduler
        task = partial(_tile, work, str(store.path.resolve()))
        size = len(pickle.dumps(task))
        if size > MOST_BYTES:
            raise ClusterError(
                f"each task would take {size / 1e6:,.0f} MB along: an image in memory cannot be"
                " shared with other processes. Save it (zarr, .npy, TIFF) and open the file."
            )
        counted, threads = 0.0, 0

        def hand_out(missing: deque[int], running: dict["distributed.Future[Any]", int]) -> int:
            nonlocal counted, threads
            if time.monotonic() - counted > LOOK_S or not threads:
                threads, counted = self._workers(), time.monotonic()
            while missing and len(running) < AHEAD * threads:
                index = missing.popleft()
                key = f"{store.path.name}-{index}-{run}-{uuid.uuid4().hex[:4]}"
                future = self.client.submit(task, index, key=key, retries=RETRIES, pure=False)
                running[future] = index
            return threads

        return hand_out

    def _workers(self) -> int:
        try:
            return len(self.client.nthreads())
        except (OSError, ValueError, AttributeError) as error:
            raise _gone(error) from error

    def _ended(
        self, running: Iterable["distributed.Future[Any]"]
    ) -> "list[distributed.Future[Any]]":
        """Those that are over, after waiting a while for the first of them."""
        futures = list(running)
        if not futures:
            time.sleep(WAIT_S)
            return []
        with suppress(TimeoutError, CancelledError), self.client.as_current():
            distributed.wait(futures, timeout=LOOK_S, return_when="FIRST_COMPLETED")
        return [future for future in futures if future.done()]


@contextmanager
def connect(address: str) -> Iterator[ClusterRunner]:
    """A runner on a scheduler that is there.

    Parameters
    ----------
    address
        Such as ``tcp://node1:8786``.

    Raises
    ------
    ClusterError
        Nothing answers there.
    """
    try:
        client = distributed.Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no scheduler answers at {address} ({reason}): start one with `dask scheduler`, or"
            " correct the address."
        ) from error
    with client:
        yield ClusterRunner(client)


@contextmanager
def local_workers(count: int, *, threads: int | None = None) -> Iterator[ClusterRunner]:
    """A runner on processes of this machine, which end with it.

    Parameters
    ----------
    count
        How many.
    threads
        Of each one's model; None shares out the cores.
    """
    threads = threads or max(1, (os.cpu_count() or 1) // count)
    with (
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,  # no share of the memory is too much for a model
            env={"OMP_NUM_THREADS": str(threads)},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield ClusterRunner(client)


def _tile(work: Work, path: str, index: int) -> str | NapariSamError | None:
    """What runs in a worker. Errors of ours are an answer: to try again would not help."""
    try:
        with _ALONE:
            message = make(work, reopen(path), index)
    except NapariSamError as error:
        return error
    if message is None:
        time.sleep(WAIT_S)
    return message


def _outcome(future: "distributed.Future[Any]", store: TileStore, index: int) -> str | None:
    """What became of a tile; None where another process is about to make it."""
    try:
        answer: str | NapariSamError | None = _answer(future)
    except distributed.KilledWorker as error:
        store.fail(index, _deaths(error))
        return f"{store.manifest.grid.tile(index).key} failed"
    if isinstance(answer, NapariSamError):
        raise answer
    return answer


def _called(future: "distributed.Future[Any]") -> Any:
    """What a function answered."""
    try:
        return _answer(future)
    except distributed.KilledWorker as error:
        raise ClusterError(f"{_deaths(error)} Run the same command again with more.") from error


def _answer(future: "distributed.Future[Any]") -> Any:
    try:
        return future.result()
    except (CancelledError, CommClosedError) as error:
        raise _gone(error) from error
    except (OSError, NapariSamError, distributed.KilledWorker):
        raise
    except Exception as error:
        raise ClusterError(
            f"a worker cannot work: {type(error).__name__}: {error}. All of them need"
            " napari-sam, in this version."
        ) from error


def _deaths(error: "distributed.KilledWorker") -> str:
    deaths, last = error.allowed_failures + 1, error.last_worker.address
    return f"{deaths} workers died of it, the last one at {last}: out of memory?"


def _gone(error: BaseException) -> ClusterError:
    return ClusterError(
        "the scheduler is gone. What is done is kept: start a scheduler and run the same command"
        f" again. ({type(error).__name__})"
    )
