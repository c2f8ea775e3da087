"""Where an image layer's pixels are: the plane in view, and layers that lie on the same pixels.

Pixels of the image layer (all its axes, whole numbers are pixel centres) are the frame of all
prompts and patches. Our own layers carry the image's transform, so that theirs are the same pixels.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_sam._journal import Source
from napari_sam._predict import Plane

SAMPLE = 16  # pixels along each axis
ROLE = "napari-sam"  # key in a layer's metadata: which of our layers it is


def current_plane(viewer: ViewerModel, image: Image, revision: int = 0) -> Plane | str:
    """The plane of an image that is in view now, or a sentence why there is none."""
    if viewer.dims.ndisplay != 2:
        return "The view is 3D. Press the 2D/3D button below the layer list to draw prompts."
    skipped = viewer.dims.ndim - image.ndim
    axes = sorted(axis - skipped for axis in viewer.dims.displayed)
    if skipped < 0 or axes[0] < 0:  # fewer axes than the image: it is being removed
        return f"{image.name!r} has no such plane: show other axes of it."
    index = tuple(int(i) for i in np.floor(to_pixels(viewer, image, viewer.dims.point) + 0.5))
    data = image.data[0] if image.multiscale else image.data
    shape = data.shape[: image.ndim]
    if any(not 0 <= index[a] < shape[a] for a in range(image.ndim) if a not in axes):
        return f"{image.name!r} is not in view here: move the sliders to one of its planes."
    at = tuple(-1 if a in axes else i for a, i in enumerate(index))
    key = (image.unique_id, id(data), revision, at)
    return Plane(key, data, (axes[0], axes[1]), index, rgb=image.rgb)


def to_pixels(viewer: ViewerModel, image: Image, position: Sequence[float]) -> NDArray[np.float64]:
    """Pixels of an image at a position in the units of the viewer's sliders."""
    world = np.array(position)[viewer.dims.ndim - image.ndim :] * _unit_factors(viewer, image)
    return np.asarray(image.world_to_data(world), np.float64)


def _unit_factors(viewer: ViewerModel, layer: Layer) -> NDArray[np.float64]:
    """Layer units per unit of the sliders: a viewer may show micrometres of a layer in metres."""
    units = viewer.dims.units
    if units is None:
        return np.ones(layer.ndim)
    factors = np.ones(layer.ndim)
    pairs = zip(units[viewer.dims.ndim - layer.ndim :], layer.units, strict=True)
    for axis, (shown, own) in enumerate(pairs):
        if shown != own and shown.is_compatible_with(own):
            factors[axis] = (1 * shown).to(own).magnitude
    return factors


def same_space(image: Image) -> dict[str, Any]:
    """What a layer needs to lie pixel on pixel on the image."""
    return {
        "scale": image.scale,
        "translate": image.translate,
        "rotate": image.rotate,
        "shear": image.shear,
        "affine": image.affine,
        "units": image.units,
        "axis_labels": image.axis_labels,
    }


def shape_of(image: Image) -> tuple[int, ...]:
    """Pixels along the image's axes, without colours; of a pyramid, of its finest level."""
    data = image.data[0] if image.multiscale else image.data
    return tuple(int(n) for n in data.shape[: image.ndim])


def source_of(image: Image) -> Source:
    """What a journal knows an image by: some of its pixels, where they are in memory."""
    data = image.data[0] if image.multiscale else image.data
    digest = hashlib.sha256()
    known = isinstance(data, np.ndarray)
    if known:
        ends = [np.unique([0, n // 2, n - 1]) for n in data.shape]
        digest.update(np.ascontiguousarray(data[np.ix_(*ends)]).tobytes())
        middle = tuple(slice(n // 2, n // 2 + SAMPLE) for n in data.shape)
        digest.update(np.ascontiguousarray(data[middle]).tobytes())
    return Source(
        name=image.name,
        path=str(image.source.path or ""),
        shape=shape_of(image),
        dtype=str(data.dtype),
        fingerprint=digest.hexdigest()[:16] if known else "",
    )


def same_grid(layer: Layer, image: Image) -> bool:
    """Whether two layers put pixel 0 and its neighbours at the same places."""
    corners = [np.zeros(image.ndim), *np.eye(image.ndim)]
    moved = [layer.world_to_data(image.data_to_world(corner)) for corner in corners]
    return np.allclose(moved, corners, atol=1e-2)


def spread(canvas: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """Give an array (h, w) or (h, w, 3) of a plane the axes that its image has."""
    shape = [1] * len(plane.index)
    shape[plane.axes[0]], shape[plane.axes[1]] = canvas.shape[:2]
    return canvas.reshape(*shape, *canvas.shape[2:])


def shifted(image: Image, position: Sequence[float]) -> NDArray[np.float64]:
    """``translate`` of a layer whose first pixel lies on this pixel of the image.

    Exact for every transform: ``affine`` comes after ``translate`` and is taken back.
    """
    return np.asarray(image.affine.inverse(image.data_to_world(position)), np.float64)
