"""Brush and eraser on labels that lie on disk: a window of them in memory, over the part in view.

napari cannot draw on a multiscale layer. Each stroke in the window is written to the disk and is a
step of the document, as a stroke on any output is. Knows no Qt.
"""

from typing import Any

import numpy as np
from napari.layers import Labels

from napari_sam._label_edit import Change, LabelEdit, Region
from napari_sam._layers import output, planes
from napari_sam._layers.binding import Binding
from napari_sam._layers.stored import StoredLabels
from napari_sam._predict import Plane
from napari_sam._volume import Volume

MOST_SIDE = 4096  # pixels of the plane
NAME = "paint here"


class PaintWindow:
    """A Labels layer in memory over a part of stored labels.

    Parameters
    ----------
    viewer, binding, volume
        Of the dock.
    """

    def __init__(self, viewer: Any, binding: Binding, volume: Volume) -> None:
        self._viewer, self._binding, self._volume = viewer, binding, volume
        self._layer: Labels | None = None
        self._labels: StoredLabels | None = None
        self._region: Region = ()
        self._writing = False

    def open(self) -> None:
        """Take the part in view into the window, ready for the brush."""
        session = self._volume.session
        plane, view, image = session.plane, self._volume.view(), self._binding.image
        labels = self._binding.output_labels()
        if plane is None or view is None or image is None:
            session.say(session.no_plane)
        elif not isinstance(labels, StoredLabels):
            session.say("Keep an object first: then there are labels on disk to paint on.")
        elif max(part.stop - part.start for part in view) > MOST_SIDE:
            session.say(f"Zoom in to paint: at most {MOST_SIDE} pixels a side.")
        else:
            self.close()
            self._show(plane, view, labels)

    def close(self) -> None:
        """The window goes; what was painted is on disk."""
        if self._labels is not None and self._on_written in self._labels.followers:
            self._labels.followers.remove(self._on_written)
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = self._labels = None

    def _show(self, plane: Plane, view: tuple[slice, slice], labels: StoredLabels) -> None:
        image = self._binding.image
        assert image is not None
        region = [slice(i, i + 1) for i in plane.index]
        region[plane.axes[0]], region[plane.axes[1]] = view
        self._region, self._labels = tuple(region), labels
        values = labels.read(self._region)
        space = planes.same_space(image)
        space["translate"] = planes.shifted(image, plane.lift(view[0].start, view[1].start))
        layer = Labels(values, name=NAME, metadata={planes.ROLE: "paint"}, opacity=0.6, **space)
        layer.selected_label = next(iter(self._volume.session.selection), labels.highest() + 1)
        layer.preserve_labels = labels.layer.preserve_labels
        self._layer = layer
        self._viewer.add_layer(layer)
        layer.mode = "paint"
        layer.events.paint.connect(self._on_paint)
        labels.followers.append(self._on_written)
        for keys, act in (("Control-Z", "undo"), ("Control-Shift-Z", "redo")):
            layer.bind_key(keys, lambda _, act=act: getattr(self._volume.session, act)())
        self._viewer.layers.selection.active = layer
        self._volume.session.say("Paint: each stroke goes to the labels on disk. Ctrl+Z undoes.")

    def _on_paint(self, event: Any) -> None:
        layer, labels = self._layer, self._labels
        if layer is None or labels is None or self._writing:
            return
        edit = moved(output.stroke_edit(layer.data, event.value), self._region)
        if not edit:
            return
        self._writing = True
        try:
            edit.apply(labels)
        finally:
            self._writing = False
        self._volume.session.stroke(edit)

    def _on_written(self, region: Region, values: np.ndarray) -> None:
        """The labels have changed elsewhere: an object was kept, or a stroke undone."""
        layer = self._layer
        if layer is None or self._writing:
            return
        inner, source = [], []
        for part, window in zip(region, self._region, strict=True):
            first, last = max(part.start, window.start), min(part.stop, window.stop)
            if first >= last:
                return
            inner.append(slice(first - window.start, last - window.start))
            source.append(slice(first - part.start, last - part.start))
        layer.data[tuple(inner)] = values[tuple(source)]
        layer.refresh(extent=False)


def moved(edit: LabelEdit, region: Region) -> LabelEdit:
    """An edit of a window as one of all labels."""
    return LabelEdit(
        tuple(
            Change(
                one.before,
                one.after,
                tuple(o + part.start for o, part in zip(one.offset, region, strict=True)),
                one.shape,
                one.count,
                one.bits,
            )
            for one in edit.changes
        )
    )
