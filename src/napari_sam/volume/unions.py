"""Union-find over numbered things, as whole arrays. Knows nothing of labels."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["components"]

Numbers = NDArray[np.int64]


def components(count: int, first: Numbers, second: Numbers) -> Numbers:
    """Which of ``count`` things hang together when ``first[i]`` and ``second[i]`` do.

    Returns
    -------
    numpy.ndarray
        (count,) numbers 0, 1, ...: equal where things are connected, in the order in which the
        first thing of each component comes.
    """
    parent = np.arange(count)
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        root_a, root_b = _root(parent, a), _root(parent, b)
        # The smaller number is the root: so the answer does not depend on the order of pairs.
        low, high = min(root_a, root_b), max(root_a, root_b)
        parent[high] = low
    while (parent[parent] != parent).any():
        parent = parent[parent]
    return np.asarray(np.unique(parent, return_inverse=True)[1], np.int64)


def _root(parent: Numbers, thing: int) -> int:
    while parent[thing] != thing:
        parent[thing] = parent[parent[thing]]
        thing = int(parent[thing])
    return thing
