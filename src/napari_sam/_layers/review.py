"""Keys of the tab Objects on our layers, and bringing an object into view. Knows no Qt."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer

from napari_sam._annotated import ObjectRecord
from napari_sam._layers.binding import Binding
from napari_sam._review import Review


class ReviewKeys:
    """Lets the mouse and the keys reach the objects.

    Parameters
    ----------
    viewer, binding, review
        Of the same dock.
    """

    def __init__(self, viewer: ViewerModel, binding: Binding, review: Review) -> None:
        self._viewer = viewer
        self._binding = binding
        self._review = review
        binding.bind_too(self._bind)
        review.goto_requested.connect(self._on_goto)

    def _bind(self, layer: Layer) -> None:
        """Labels have keys of their own for all but the review."""
        review = self._review
        keys: dict[str, Any] = {
            "N": lambda _: review.step(),
            "Shift-N": lambda _: review.step(-1),
            "R": lambda _: review.accept(),
        }
        if not isinstance(layer, Labels) or layer is self._binding.own("preview"):
            keys |= {
                "S": lambda _: self._select(),
                "Shift-S": lambda _: self._select(more=True),
                "O": lambda _: self._open(),
                "U": lambda _: review.refine(),
                "X": lambda _: review.delete(),
                "K": lambda _: review.step_kind(),
            }
        for key, call in keys.items():
            layer.bind_key(key, call, overwrite=True)

    def _select(self, *, more: bool = False) -> None:
        position = self._binding.under_the_mouse()
        if position is not None:
            self._review.select_at(position, more=more)

    def _open(self) -> None:
        position = self._binding.under_the_mouse()
        if position is not None:
            self._review.open_at(position)

    def _on_goto(self, record: ObjectRecord) -> None:
        image = self._binding.image
        if image is None:
            return
        world = np.asarray(image.data_to_world(record.middle))
        skipped = self._viewer.dims.ndim - image.ndim
        for axis, place in enumerate(world, start=skipped):
            if axis not in self._viewer.dims.displayed:
                self._viewer.dims.set_point(axis, float(place))
        shown = [axis - skipped for axis in self._viewer.dims.displayed]
        self._viewer.scene.camera.center = tuple(float(world[axis]) for axis in shown)
