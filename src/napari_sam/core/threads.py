"""How threads wait, and how many compute: set before torch is imported, by whatever comes first.

Importing this module (any module of core does) sets the waiting policy of OpenMP, which torch's
library reads once, when it is loaded. With spinning threads, the usual policy, one busy neighbour
process makes a click 14 times slower.

The rule for numbers: torch's number of threads is the one for all engines. Each thread of Python
that computes brings a team of so many, so a process encodes one picture at a time
(``Runtime.active(alone=True)``); decoding is short and goes on beside it. Whoever starts several
processes divides the cores among them, with ``OMP_NUM_THREADS``. Many small pieces of one job run
on workers of one thread each (``side_by_side``): small operations gain little from a team.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["side_by_side", "spare_a_core"]

logger = logging.getLogger(__name__)

_TOO_LATE = "torch" in sys.modules and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def spare_a_core(*, too_late: bool = _TOO_LATE) -> None:
    """Leave a core to others where torch's threads spin while they wait.

    Parameters
    ----------
    too_late
        Whether torch was imported before this module, with no policy set.
    """
    import torch

    threads = torch.get_num_threads()
    if not too_late or threads == 1 or threads < (os.cpu_count() or 1):
        return
    torch.set_num_threads(threads - 1)
    logger.warning(
        "torch was imported before napari_sam.core, so its threads wait by spinning and a busy"
        " neighbour would make each click many times slower: using %d of %d threads. Import"
        " napari_sam.core first, or set OMP_WAIT_POLICY=passive.",
        threads - 1,
        threads,
    )


_workers: dict[int, ThreadPoolExecutor] = {}  # by their number
_workers_lock = threading.Lock()


def side_by_side(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs at the same time, on as many workers of one thread each as torch has threads here.

    A single job runs in the caller. Gradients are off in the workers, and inference mode is as in
    the caller. The first error is raised when all have ended. Jobs must not call this themselves.
    """
    import torch

    count = torch.get_num_threads()
    if len(jobs) < 2 or count < 2:
        for job in jobs:
            job()
        return
    inference = torch.is_inference_mode_enabled()

    def run(job: Callable[[], None]) -> None:
        with torch.no_grad(), torch.inference_mode(inference):
            job()

    futures = [_pool(count).submit(run, job) for job in jobs]
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise errors[0]


def _pool(count: int) -> ThreadPoolExecutor:
    import torch

    with _workers_lock:
        if count not in _workers:
            started = threading.Barrier(count)
            pool = ThreadPoolExecutor(count, "napari-sam-decode", _compute_alone)
            for future in [pool.submit(started.wait) for _ in range(count)]:
                future.result()
            # The number that a worker sets is also the one that new threads begin with: undo that.
            torch.set_num_threads(count)
            _workers[count] = pool
        return _workers[count]


def _compute_alone() -> None:
    import torch

    torch.get_num_threads()  # a thread takes over the process' number when first asked: before ours
    torch.set_num_threads(1)
