"""How threads wait, and how many compute: set before torch is imported, by whatever comes first.

Importing this module (any module of core does) sets the waiting policy of OpenMP, which torch's
library reads once, when it is loaded. With spinning threads, the usual policy, one busy neighbour
process makes a click 14 times slower.

The rule for numbers: torch's number of threads is the one for all engines. Each thread of Python
that computes brings a team of so many, so a process encodes one picture at a time
(``Runtime.active(alone=True)``); decoding is short and goes on beside it. Whoever starts several
processes divides the cores among them, with ``OMP_NUM_THREADS``. Many small pieces of one job run
on workers of one thread each (``side_by_side``): small operations gain little from a team, and to
wake it costs more than many of them (0.1 to 0.3 ms). One click runs on one such worker
(``in_one_thread``), which hands pieces of its work to helpers (``with_helpers``).
"""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = [
    "Run",
    "in_one_thread",
    "one_after_another",
    "share_out",
    "side_by_side",
    "slices",
    "spare_a_core",
    "with_helpers",
]

Run = Callable[[Sequence[Callable[[], None]]], None]
"""What runs the pieces of a job."""
LEAST_SLICES = 4  # so that they can be shared out

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


_workers: dict[tuple[str, int], ThreadPoolExecutor] = {}
_workers_lock = threading.Lock()
_here = threading.local()


def side_by_side(jobs: Sequence[Callable[[], None]], *, count: int | None = None) -> None:
    """Run jobs at the same time, on ``count`` workers of one thread each.

    A single job runs in the caller, and so do all within a job of one of our workers: to wait there
    for other workers may be for ever. Gradients are off in the workers, and inference mode is as in
    the caller. The first error is raised when all have ended.

    Parameters
    ----------
    jobs
        What to run.
    count
        Number of workers; None: as many as torch has threads here.
    """
    import torch

    count = count or torch.get_num_threads()
    if len(jobs) < 2 or count < 2 or _is_worker():
        one_after_another(jobs)
        return
    _run_in(_pool("side", count), jobs)


def in_one_thread(job: Callable[[], None]) -> None:
    """Run a job of many small operations on one thread: a team costs more than it saves.

    As :func:`side_by_side`. The job may hand out its pieces with :func:`with_helpers`.
    """
    if _is_worker():
        job()
    else:
        _run_in(_pool("one", 1), [job])


def share_out(jobs: Sequence[Callable[[], None]]) -> None:
    """Run the pieces of a click on one-threaded workers, as many as torch has threads here.

    As :func:`side_by_side`, but never waits for a batch that runs there.
    """
    import torch

    count = torch.get_num_threads()
    if len(jobs) < 2 or count < 2:
        in_one_thread(lambda: one_after_another(jobs))
    else:
        in_one_thread(lambda: with_helpers(jobs, count=count))


def with_helpers(jobs: Sequence[Callable[[], None]], *, count: int) -> None:
    """Run jobs in the caller and on ``count - 1`` helpers; for a job of :func:`in_one_thread`.

    Each takes the next job when it is done with one. Helpers that are still busy with others' work
    when all jobs are taken are not waited for. Errors as of :func:`side_by_side`.
    """
    left, errors = deque(jobs), deque[BaseException]()

    def work() -> None:
        while left and not errors:
            try:
                job = left.popleft()
            except IndexError:  # another one was faster
                return
            try:
                job()
            except BaseException as error:
                errors.append(error)

    helpers = min(count, len(jobs)) - 1
    futures = _submit(_pool("help", count - 1), [work] * helpers) if helpers > 0 else []
    work()
    for future in futures:
        if not future.cancel():
            future.result()
    if errors:
        raise errors[0]


def slices(count: int, most: int) -> list[slice]:
    """Cut ``count`` things in slices of at most ``most``, at least four of them where there are.

    They differ in length only at the end.
    """
    step = max(1, min(most, -(-count // LEAST_SLICES)))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def one_after_another(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs in the caller; stands in for the others within one of their jobs."""
    for job in jobs:
        job()


def _run_in(pool: ThreadPoolExecutor, jobs: Sequence[Callable[[], None]]) -> None:
    errors = [error for future in _submit(pool, jobs) if (error := future.exception())]
    if errors:
        raise errors[0]


def _submit(pool: ThreadPoolExecutor, jobs: Sequence[Callable[[], None]]) -> list[Future[None]]:
    import torch

    inference = torch.is_inference_mode_enabled()

    def run(job: Callable[[], None]) -> None:
        with torch.no_grad(), torch.inference_mode(inference):
            job()

    return [pool.submit(run, job) for job in jobs]


def _is_worker() -> bool:
    """Whether the caller is one of our workers."""
    return getattr(_here, "is_worker", False)


def _pool(name: str, count: int) -> ThreadPoolExecutor:
    with _workers_lock:
        if (name, count) not in _workers:
            pool = ThreadPoolExecutor(count, f"napari-sam-{name}", _compute_alone)
            # In a thread of its own: whoever calls may be a worker, with a worker's number.
            starter = threading.Thread(target=_start, args=(pool, count))
            starter.start()
            starter.join()
            _workers[name, count] = pool
        return _workers[name, count]


def _start(pool: ThreadPoolExecutor, count: int) -> None:
    """Start all workers. The number that one sets is what new threads begin with: undo that."""
    import torch

    threads = torch.get_num_threads()
    started = threading.Barrier(count)
    for future in [pool.submit(started.wait) for _ in range(count)]:
        future.result()
    torch.set_num_threads(threads)


def _compute_alone() -> None:
    import torch

    _here.is_worker = True
    torch.get_num_threads()  # a thread takes over the process' number when first asked: before ours
    torch.set_num_threads(1)
