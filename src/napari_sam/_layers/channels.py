"""Several channels for the model: other image layers on the same pixels, or an axis of the image.

Knows napari's layers; knows no session. A choice is a key: ``"axis 0"``, ``"layers"``, or the id of
another layer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_sam._layers.planes import same_grid, shape_of
from napari_sam._predict import Plane

ALL_LAYERS = "layers"
MOST_CHANNELS = 8  # a longer axis is no axis of channels


@dataclass(frozen=True, eq=False)
class Stacked:
    """Arrays of one shape as one with a last axis of channels; read when it is indexed."""

    arrays: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis, channels last."""
        return (*self.arrays[0].shape, len(self.arrays))

    def __getitem__(self, where: Any) -> NDArray[Any]:
        return np.stack([np.asarray(array[where]) for array in self.arrays], axis=-1)


def options(
    image: Image, others: Iterable[Image], axes: Sequence[int]
) -> tuple[tuple[str, str], ...]:
    """What can be mixed with an image of which these axes are in view: keys and titles."""
    if image.rgb:
        return ()
    shape = shape_of(image)
    found = [
        (f"axis {axis}", f"All {length} along axis {axis}")
        for axis, length in enumerate(shape)
        if axis not in axes and 2 <= length <= MOST_CHANNELS
    ]
    partners = _partners(image, others)
    found += [(str(layer.unique_id), f"With {layer.name}") for layer in partners]
    if len(partners) > 1:
        found.append((ALL_LAYERS, f"With all {len(partners)} other layers"))
    return tuple(found)


def mix(plane: Plane, key: str | None, image: Image, others: Iterable[Image]) -> Plane:
    """The plane with the channels that were chosen; as it is where they are gone."""
    if key is None:
        return plane
    if key.startswith("axis "):
        axis = int(key.removeprefix("axis "))
        if axis in plane.axes or axis >= len(plane.index):
            return plane
        return replace(plane, mixed=axis, key=(*plane.key, key))  # type: ignore[misc]
    partners = [
        layer for layer in _partners(image, others) if key in (ALL_LAYERS, str(layer.unique_id))
    ]
    if not partners:
        return plane
    arrays = (plane.data, *(layer.data for layer in partners))
    parts = tuple((layer.unique_id, id(layer.data)) for layer in partners)
    return replace(plane, data=Stacked(arrays), rgb=True, key=(*plane.key, parts))  # type: ignore[misc]


def _partners(image: Image, others: Iterable[Image]) -> list[Image]:
    """Other layers of one channel with the image's pixels."""
    return [
        layer
        for layer in others
        if layer is not image
        and not (layer.rgb or layer.multiscale or image.multiscale)
        and shape_of(layer) == shape_of(image)
        and same_grid(layer, image)
    ]
