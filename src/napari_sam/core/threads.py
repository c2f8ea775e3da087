"""How threads wait, and how many compute: set before torch is imported, by whatever comes first.

Importing this module (any module of core does) sets the waiting policy of OpenMP, which torch's
library reads once, when it is loaded. With spinning threads, the usual policy, one busy neighbour
process makes a click 14 times slower.

The rule for numbers: torch's number of threads is the one for all engines. Each thread of Python
that computes brings a team of so many, so a process encodes one picture at a time
(``Runtime.active(alone=True)``); decoding is short and goes on beside it. Whoever starts several
processes divides the cores among them, with ``OMP_NUM_THREADS``.
"""

import logging
import os
import sys

__all__ = ["spare_a_core"]

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
