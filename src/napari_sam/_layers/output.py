"""The Labels layer that takes the objects: made, read, written, and its brush strokes noticed."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_sam._chunked_labels import empty_array
from napari_sam._label_edit import LabelEdit, Region, difference, enclosing, inside
from napari_sam._layers.planes import same_grid, same_space, shape_of
from napari_sam._layers.stored import StoredLabels, check_stored, is_stored, open_stored
from napari_sam.errors import ImageError

SCANNED_EACH_TIME = 1 << 26  # pixels
LISTED_AT_ONCE = 1 << 24  # pixels: a larger layer is listed plane by plane, as they are viewed
FEW_PIXELS = 1 << 17  # that are written as napari's tools do it
FEW_OF_PLANE = 1 / 32  # no more than this part of a plane, either: drawing it anew is faster
Later = Callable[[Callable[[], None]], None]


def make_output(image: Image) -> Labels:
    """An empty Labels layer with the image's pixels.

    Memory is used only where something is drawn: numpy zeros are not there until they are written,
    and very large layers are zarr arrays in memory.
    """
    labels = empty_array(shape_of(image))
    return Labels(labels, name=f"{image.name} labels", **same_space(image))


def open_labels(
    layer: Labels,
    *,
    highest: int | None = None,
    on_stroke: Callable[[LabelEdit], None] | None = None,
    on_replaced: Callable[[], None] | None = None,
    later: Later = lambda act: act(),
) -> "OutputLabels":
    """What is drawn on: labels on disk, or the layer itself (see :class:`LayerLabels`).

    Raises
    ------
    StoreError
        Labels on disk cannot be kept in step.
    """
    if is_stored(layer):
        return open_stored(layer)
    return LayerLabels(
        layer, highest=highest, on_stroke=on_stroke, on_replaced=on_replaced, later=later
    )


class LayerLabels:
    """A Labels layer as a :class:`~napari_sam._label_edit.LabelImage`.

    Parameters
    ----------
    layer
        The layer; each small write is one edit of it, which napari's own undo knows, too.
    highest
        The highest label in it, where that is known.
    on_stroke
        Called with what brush, eraser, bucket or another array of the same shape have changed.
    on_replaced
        Called when the layer has got an array of another shape, or one too large to compare.
    later
        Calls a function after the present event: the window draws many pixels then.
    """

    def __init__(
        self,
        layer: Labels,
        *,
        highest: int | None = None,
        on_stroke: Callable[[LabelEdit], None] | None = None,
        on_replaced: Callable[[], None] | None = None,
        later: Later = lambda act: act(),
    ) -> None:
        self.layer = layer
        self._later, self._outdated = later, False
        self._data = layer.data
        self._on_replaced = on_replaced
        self._highest = highest
        self._on_stroke = on_stroke
        self._writing = False
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)

    def close(self) -> None:
        """Let go of the layer."""
        self.layer.events.paint.disconnect(self._on_paint)
        self.layer.events.data.disconnect(self._on_data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(int(n) for n in self.layer.data.shape)

    @property
    def largest(self) -> int:
        """The highest label that its dtype can hold."""
        return int(np.iinfo(self.layer.data.dtype).max)

    @property
    def locked(self) -> bool:
        """Whether the layer's "preserve labels" is on."""
        return bool(self.layer.preserve_labels)

    def highest(self) -> int:
        """The highest label in it.

        Up to some size all of it is looked at each time; a larger one once, and from then on what
        is written is remembered.
        """
        data = self.layer.data
        small = isinstance(data, np.ndarray) and data.size <= SCANNED_EACH_TIME
        if small or self._highest is None:
            self._highest = max((int(np.max(block)) for block in _blocks(data)), default=0)
        return self._highest

    def read(self, region: Region) -> NDArray[Any]:
        """A copy of a region."""
        return np.array(self.layer.data[region])

    def write(self, region: Region, values: NDArray[Any]) -> None:
        """Replace a region."""
        changed = np.asarray(self.layer.data[region]) != values
        count = np.count_nonzero(changed)
        if count > min(FEW_PIXELS, max(1 << 10, math.prod(self.shape[-2:]) * FEW_OF_PLANE)):
            self._write_many(region, values)
        elif count:
            self._write_few(region, values, np.nonzero(changed))

    def _write_many(self, region: Region, values: NDArray[Any]) -> None:
        """Past napari's own history, which would keep the place of every pixel: 8 times slower."""
        self.layer.data[region] = values
        self._note(int(values.max()))
        if not self._outdated:
            self._outdated = True
            # Not at the end of this turn of the event loop: first the mouse and the keys are heard.
            self._later(lambda: self._later(self._draw))

    def _draw(self) -> None:
        self._outdated = False
        self.layer.refresh(extent=False, highlight=False)

    def _write_few(self, region: Region, values: NDArray[Any], places: Any) -> None:
        new = values[places]
        indices = tuple(i + part.start for i, part in zip(places, region, strict=True))
        self._writing = True
        try:
            self.layer.data_setitem(indices, new)
        finally:
            self._writing = False
        self._note(int(new.max()))

    def _note(self, label: int) -> None:
        if self._highest is not None:
            self._highest = max(self._highest, label)

    def _on_data(self, event: Any = None) -> None:
        """A plugin or a script has given the layer another array."""
        old, self._data = self._data, self.layer.data
        new = self._data
        if new is old:
            return
        self._highest = None
        alike = tuple(old.shape) == tuple(new.shape) and old.size <= SCANNED_EACH_TIME
        if not alike and self._on_replaced is not None:
            self._on_replaced()
        elif alike and self._on_stroke is not None:
            self._on_stroke(difference(np.asarray(old), np.asarray(new)))

    def _on_paint(self, event: Any) -> None:
        if self._writing:
            return
        edit = stroke_edit(self.layer.data, event.value)
        self._note(max((one.after for one in edit.changes), default=0))
        if self._on_stroke is not None:
            self._on_stroke(edit)


OutputLabels = LayerLabels | StoredLabels


def stroke_edit(data: Any, atoms: Sequence[Any]) -> LabelEdit:
    """What napari's ``paint`` event says, as an edit.

    Its parts are of two kinds: ``(slices, mask or None, old values, new label)`` of the brush, and
    ``(indices, old values, new values)`` of ``data_setitem``, which tells before it writes.
    """
    parts = [_part(atom) for atom in atoms]
    region = enclosing(where for where, *_ in parts)
    before = np.array(data[region])
    after = before.copy()
    for where, places, old, _ in reversed(parts):
        before[inside(where, region)][places] = old
    for where, places, _, new in parts:
        after[inside(where, region)][places] = new
    return difference(before, after, [part.start for part in region])


def _part(atom: Any) -> tuple[Region, Any, Any, Any]:
    """Where, which of these pixels, from what, to what."""
    if hasattr(atom, "slice_key"):
        places = slice(None) if atom.mask is None else atom.mask
        return tuple(atom.slice_key), places, atom.old_values, atom.new_value
    indices, old, new = atom
    indices = np.broadcast_arrays(*(np.atleast_1d(i) for i in indices))
    region = tuple(slice(int(i.min()), int(i.max()) + 1) for i in indices)
    places = tuple(i - part.start for i, part in zip(indices, region, strict=True))
    return region, places, old, new


def space_of(labels: Any) -> dict[str, Any]:
    """Axes, scale and unit of labels, as formats of files have them; of unknown ones nothing."""
    if not isinstance(labels, LayerLabels):
        return {}
    layer = labels.layer
    return space(layer.axis_labels, layer.scale, layer.units)


def space(names: Sequence[str], scale: Sequence[float], units: Sequence[Any]) -> dict[str, Any]:
    """Axes, scale and unit, as formats of files have them."""
    letters = "".join(str(name)[:1].lower() for name in names)
    proper = len(set(letters)) == len(names) and set(letters) <= set("tczyx")
    unit = str(units[-1]) if len(units) else "pixel"
    return {
        "axes": letters if proper and letters.endswith("yx") else "",
        "scale": tuple(map(float, scale)),
        "unit": "" if unit == "pixel" else unit,
    }


def check_output(labels: Labels, image: Image) -> None:
    """Whether a layer can take the objects of an image.

    Raises
    ------
    ImageError
        It cannot be written, or its pixels are not those of the image.
    """
    data = labels.data
    if is_stored(labels):
        check_stored(labels, image)
        return
    if labels.multiscale or type(data).__module__.startswith("dask") or _is_read_only(data):
        raise ImageError(
            f"{labels.name!r} is read-only (lazy, multiscale, or opened to be read): choose another"
            " output, or the new one."
        )
    if tuple(data.shape) != shape_of(image) or not same_grid(labels, image):
        raise ImageError(
            f"{labels.name!r} does not have the pixels of {image.name!r} (their shape, scale,"
            " position or rotation differ): choose another output, or the new one."
        )


def _is_read_only(data: Any) -> bool:
    """Whether an array of numpy, or of zarr, refuses to be written."""
    if isinstance(data, np.ndarray):
        return not data.flags.writeable
    return bool(getattr(data, "read_only", False))


def _blocks(data: Any) -> Iterator[Any]:
    """The array, piece by piece where it is not in memory."""
    if isinstance(data, np.ndarray) or data.ndim < 3:
        yield np.asarray(data[...])
    else:
        yield from (np.asarray(data[i]) for i in range(data.shape[0]))
