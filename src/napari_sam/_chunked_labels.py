"""Empty labels of any size: memory is used only where something is drawn. Knows arrays only."""

from typing import Any

import numpy as np
import zarr

from napari_sam._label_edit import ArrayLabels, LabelImage, Region

LARGEST_IN_MEMORY = 1 << 31  # bytes of a new array; above, only chunks that are drawn on
CHUNK = 512


def empty_array(shape: tuple[int, ...]) -> Any:
    """Zeros, uint32: numpy, which does not use memory before it is written, or zarr in memory."""
    if np.prod(shape, dtype=float) * 4 <= LARGEST_IN_MEMORY:
        return np.zeros(shape, np.uint32)
    chunks = tuple(min(n, CHUNK) if a >= len(shape) - 2 else 1 for a, n in enumerate(shape))
    return zarr.create_array({}, shape=shape, chunks=chunks, dtype="uint32")


def empty_labels(shape: tuple[int, ...]) -> LabelImage:
    """Labels to draw on, with nothing in them."""
    array = empty_array(shape)
    return ArrayLabels(array) if isinstance(array, np.ndarray) else ChunkedLabels(array)


class ChunkedLabels(ArrayLabels):
    """A zarr array as labels, empty at first: what is written is remembered, not searched."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self._highest = 0

    def highest(self) -> int:
        """The highest label that was ever written."""
        return self._highest

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        """A copy of a region."""
        return np.array(self.data[region])

    def write(self, region: Region, values: np.ndarray[Any, Any]) -> None:
        """Replace a region."""
        self.data[region] = values
        self._highest = max(self._highest, int(values.max(initial=0)))
