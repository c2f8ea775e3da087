"""The Labels layer that takes the objects: made, written, and taken back."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_sam._layers.planes import same_space, shape_of
from napari_sam._predict import MaskPatch, Plane, paint
from napari_sam.errors import ImageError

LARGEST_IN_MEMORY = 1 << 31  # bytes of a new Labels layer; above, only chunks that are drawn on
SCANNED_EACH_TIME = 1 << 26  # pixels
CHUNK = 512


def make_output(image: Image) -> Labels:
    """An empty Labels layer with the image's pixels.

    Memory is used only where something is drawn: numpy zeros are not there until they are written,
    and very large layers are zarr arrays in memory.
    """
    shape = shape_of(image)
    labels: Any
    if np.prod(shape, dtype=float) * 4 > LARGEST_IN_MEMORY:
        chunks = tuple(min(n, CHUNK) if a >= len(shape) - 2 else 1 for a, n in enumerate(shape))
        labels = zarr.create_array({}, shape=shape, chunks=chunks, dtype="uint32")
    else:
        labels = np.zeros(shape, np.uint32)
    return Labels(labels, name=f"{image.name} labels", **same_space(image))


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """One commit as written: enough to take it back, and no more than its bounding box.

    ``plane`` and ``offset`` are in pixels of the labels; ``values`` and ``before`` (h, w).
    """

    labels: "weakref.ReferenceType[Labels]"
    plane: Plane
    offset: tuple[int, int]
    values: NDArray[Any]
    before: NDArray[Any]

    @property
    def numbers(self) -> list[int]:
        """The labels that were given."""
        return [int(n) for n in np.unique(self.values) if n]


def commit(
    labels: Labels,
    image: Image,
    *,
    plane: Plane,
    patches: Sequence[MaskPatch],
    known: int | None = None,
) -> LabelEdit:
    """Write masks as new labels: one edit of the Labels layer, which napari's undo knows.

    With the layer's "preserve labels" on, only background is written. ``known`` is the highest
    label of this layer as far as the caller has seen.

    Raises
    ------
    ImageError
        The layer cannot be written, or its pixels are not those of the image.
    """
    offset, canvas = paint(patches, range(1, len(patches) + 1), np.uint32)
    return commit_canvas(
        labels,
        image,
        plane=plane,
        offset=offset,
        canvas=canvas,
        known=known,
        keep=labels.preserve_labels,
    )


def commit_canvas(
    labels: Labels,
    image: Image,
    *,
    plane: Plane,
    offset: tuple[int, int],
    canvas: NDArray[np.uint32],
    known: int | None = None,
    keep: bool = True,
) -> LabelEdit:
    """Write objects as new labels, without gaps: one edit of the layer, which napari's undo knows.

    Parameters
    ----------
    labels, image, plane, known
        As of :func:`commit`.
    offset, canvas
        Objects 1 to n, (h, w), and the pixel (y, x) of the plane where the canvas begins.
    keep
        Write on background only; an object with no pixel left gets no label.

    Raises
    ------
    ImageError
        As of :func:`commit`.
    """
    moved = _on_labels(labels, image, plane)
    before = np.zeros(canvas.shape, labels.data.dtype)
    before[canvas != 0] = labels.data[_indices(canvas != 0, offset, moved)]
    numbers = np.unique(np.where(before == 0, canvas, 0) if keep else canvas)
    numbers = numbers[numbers != 0]
    first = highest_label(labels, known=known, plane=moved) + 1
    last = first + len(numbers) - 1
    if last > np.iinfo(before.dtype).max:
        raise ImageError(
            f"{labels.name!r} ({before.dtype}) has no room for label {last}: choose another layer."
        )
    new = np.zeros(int(canvas.max(initial=0)) + 1, before.dtype)
    new[numbers] = np.arange(first, last + 1)
    values = new[canvas]
    if keep:
        values[before != 0] = 0
    _write(labels, values, offset, moved)
    return LabelEdit(weakref.ref(labels), moved, offset, values, before)


def undo_commit(edit: LabelEdit) -> None:
    """Take a commit back where its labels still are: what was drawn over it since stays.

    Raises
    ------
    ImageError
        The layer is gone.
    """
    labels = edit.labels()
    if labels is None or labels.data.shape != edit.plane.data.shape:
        raise ImageError("the Labels layer of the last commit is gone: nothing was undone.")
    mask = edit.values != 0
    now = np.zeros_like(edit.values)
    now[mask] = labels.data[_indices(mask, edit.offset, edit.plane)]
    _write(labels, edit.before, edit.offset, edit.plane, where=mask & (now == edit.values))


def _on_labels(labels: Labels, image: Image, plane: Plane) -> Plane:
    """The same plane, of the labels."""
    data = labels.data
    if labels.multiscale or type(data).__module__.startswith("dask"):
        raise ImageError(f"{labels.name!r} is read-only (lazy or multiscale): choose another.")
    if tuple(data.shape) != shape_of(image) or not _same_grid(labels, image):
        raise ImageError(
            f"{labels.name!r} does not have the pixels of {image.name!r} (their shape, scale,"
            " position or rotation differ): choose another output, or the new one."
        )
    return Plane(plane.key, data, plane.axes, plane.index)


def _same_grid(labels: Labels, image: Image) -> bool:
    """Whether both layers put pixel 0 and its neighbours at the same places."""
    corners = [np.zeros(image.ndim), *np.eye(image.ndim)]
    moved = [labels.world_to_data(image.data_to_world(corner)) for corner in corners]
    return np.allclose(moved, corners, atol=1e-2)


def highest_label(labels: Labels, *, known: int | None, plane: Plane) -> int:
    """The highest label of a layer.

    Up to some size all of it is looked at each time; a larger one once, and from then on
    (``known``) the plane in view and the label that the brush has.
    """
    data = labels.data
    small = isinstance(data, np.ndarray) and data.size <= SCANNED_EACH_TIME
    if small or known is None:
        return max((int(np.max(block)) for block in _blocks(data)), default=0)
    return max(known, int(np.max(plane.read())), int(labels.selected_label))


def _blocks(data: Any) -> Iterator[Any]:
    """The array, piece by piece where it is not in memory."""
    if isinstance(data, np.ndarray) or data.ndim < 3:
        yield np.asarray(data[...])
    else:
        yield from (np.asarray(data[i]) for i in range(data.shape[0]))


def _indices(
    mask: NDArray[np.bool_], offset: tuple[int, int], plane: Plane
) -> tuple[NDArray[np.intp], ...]:
    rows, columns = np.nonzero(mask)
    indices = [np.full(rows.size, i, np.intp) for i in plane.index]
    indices[plane.axes[0]] = rows + offset[0]
    indices[plane.axes[1]] = columns + offset[1]
    return tuple(indices)


def _write(
    labels: Labels,
    values: NDArray[Any],
    offset: tuple[int, int],
    plane: Plane,
    where: NDArray[np.bool_] | None = None,
) -> None:
    mask = values != 0 if where is None else where
    if mask.any():
        labels.data_setitem(_indices(mask, offset, plane), values[mask])
