"""The tab 3D / time and napari's layers: along which axis, of which image, which plane in view."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel

from napari_sam._layers import planes
from napari_sam._layers.binding import Binding
from napari_sam._layers.volume import source_of
from napari_sam._propagating import Propagating
from napari_sam._way import Way

ORDER = "ztyx"  # which axis is gone along, if nobody says


class PropagatingLayers:
    """Gives the tab the image of a dock, and brings its planes into view.

    Parameters
    ----------
    viewer, binding, propagating
        Of the same dock.
    """

    def __init__(self, viewer: ViewerModel, binding: Binding, propagating: Propagating) -> None:
        self._viewer, self._binding, self._propagating = viewer, binding, propagating
        propagating.find_way, propagating.find_image = self._find_way, self._find_image
        propagating.jump_requested.connect(self._on_jump)

    def _find_way(self, along: str | None) -> Way | str:
        """The axis to go along from the plane in view, or a sentence why there is none."""
        image, plane = self._binding.image, self._propagating.session.plane
        source = None if image is None else source_of(image, self._binding.pixels)
        if image is None or plane is None or source is None:
            return "Open a stack first: an image with an axis z or t."
        letters = source.axes[: image.ndim]
        hidden = [a for a in range(image.ndim) if a not in plane.axes]
        possible = [letter for letter in ORDER if letter in {letters[a] for a in hidden}]
        possible = [letter for letter in possible if self._long(letters.index(letter))]
        if along is not None and along not in possible:
            return f"The image has no axis {along} beside those in view: {', '.join(letters)}."
        if not possible:
            return "This image has one plane only: there is nothing to go along."
        axis = letters.index(along or possible[0])
        rows, columns = plane.axes
        if letters[axis] == "x":  # as the library turns it: rows along y
            rows, columns = columns, rows
        scale = [float(abs(s)) for s in image.scale]
        spacing = (scale[axis], scale[rows], scale[columns])
        return Way(letters, planes.shape_of(image), axis, rows, columns, plane.index, spacing)

    def _long(self, axis: int) -> bool:
        image = self._binding.image
        return image is not None and planes.shape_of(image)[axis] > 1

    def _find_image(self) -> tuple[Callable[[], Any], tuple[int, ...] | None]:
        """The image for the library, and its channel that is seen; None: all, or there is one."""
        image, plane = self._binding.image, self._propagating.session.plane
        assert image is not None
        assert plane is not None
        source = source_of(image, self._binding.pixels)
        assert source is not None
        letters = source.axes[: image.ndim]
        channel = source.channel
        if "c" in letters:
            channel = plane.index[letters.index("c")]
        return (lambda: source.ref(0)), None if channel is None else (channel,)

    def _on_jump(self, way: Way, plane: int) -> None:
        image = self._binding.image
        if image is None or len(way.shape) != image.ndim:
            return
        place = list(map(float, way.index))
        place[way.axis] = float(plane)
        world = np.asarray(image.data_to_world(place))
        axis = way.axis + self._viewer.dims.ndim - image.ndim
        self._viewer.dims.set_point(axis, float(world[way.axis]))
