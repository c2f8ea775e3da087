"""An array of many axes whose planes are read one by one, when sliced. Knows no format."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Planes"]


@dataclass(frozen=True, eq=False)
class Planes:
    """An array as :class:`~napari_sam.volume.lazy_image.LazyImage` wants it.

    Attributes
    ----------
    shape, dtype
        Of the array: any axes, then y and x, then colours if there are any.
    leading
        How many axes come before y and x.
    read
        Gives the part (y, x) or (y, x, c) of the plane with a number along each leading axis.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    leading: int
    read: Callable[[tuple[int, ...], slice, slice], NDArray[Any]]

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """A part, by a number or slice of step 1 for each axis."""
        first, (rows, columns), rest = (
            key[: self.leading],
            key[self.leading : self.leading + 2],
            key[self.leading + 2 :],
        )
        rows, columns = (
            slice(*part.indices(length)) if isinstance(part, slice) else slice(part, part + 1)
            for part, length in zip((rows, columns), self.shape[self.leading :], strict=False)
        )
        wanted = [
            range(*one.indices(length)) if isinstance(one, slice) else [one]
            for one, length in zip(first, self.shape, strict=False)
        ]
        parts = [self.read(index, rows, columns)[(..., *rest)] for index in product(*wanted)]
        kept = [len(w) for w, one in zip(wanted, first, strict=True) if isinstance(one, slice)]
        return np.stack(parts).reshape(*kept, *parts[0].shape).astype(self.dtype, copy=False)
