"""Which numbered things hang together, as whole arrays. Knows nothing of labels."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    if not count:
        return np.zeros(0, np.int64)
    pairs = (np.ones(len(first), bool), (first, second))
    graph = coo_array(pairs, shape=(count, count))
    found = connected_components(graph, directed=False)[1]
    # Numbered anew, so that the answer depends neither on the order of pairs nor on the search.
    _, firsts, which = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(firsts), np.int64)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    return np.asarray(rank[which], np.int64)
