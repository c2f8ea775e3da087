"""An array on disk as napari slices it: reads what is asked for, and computes nothing beside it.

dask would do, too, but goes through all of its chunks for each slice: 0.1 to 0.3 s of the window's
thread where there are 100,000 of them. Knows arrays with ``shape``, ``dtype``, ``chunks``.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class LazyPixels:
    """Part of an array that is read when sliced: napari's ``LayerDataProtocol``.

    Parameters
    ----------
    array
        Of zarr, or one that can be sliced in the same way.
    axis, channel
        Of an array with channels: their axis, and which one is meant; it has one axis less then.
    dtype
        What the pixels become when they are read; None: as they are.
    """

    def __init__(
        self, array: Any, *, axis: int = -1, channel: int | None = None, dtype: DTypeLike = None
    ) -> None:
        self._array, self._axis, self._channel = array, axis, channel
        self.dtype = np.dtype(dtype if dtype is not None else array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return self._without(tuple(int(n) for n in self._array.shape))

    @property
    def chunks(self) -> tuple[int, ...]:
        """Pixels of a chunk along each axis: napari reads whole ones."""
        return self._without(tuple(int(n) for n in self._array.chunks))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part, given by whole numbers and slices."""
        if self._channel is not None:
            key = self._with_channel(key if isinstance(key, tuple) else (key,))
        return np.asarray(self._array[key], self.dtype)

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it."""
        return np.asarray(self[...], dtype)

    def _without(self, values: tuple[int, ...]) -> tuple[int, ...]:
        if self._channel is None:
            return values
        return values[: self._axis] + values[self._axis + 1 :]

    def _with_channel(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        before, rest = key, ()
        if any(part is Ellipsis for part in key):
            place = next(i for i, part in enumerate(key) if part is Ellipsis)
            before, rest = key[:place], key[place + 1 :]
        whole = before + (slice(None),) * (self.ndim - len(before) - len(rest)) + rest
        return (*whole[: self._axis], self._channel, *whole[self._axis :])
