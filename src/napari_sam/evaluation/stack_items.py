"""Volumes and films with true objects, turned so that they are propagated along their first axis.

Knows packs, axes and how objects are drawn; asks no model.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.evaluation.sources import Item, Source
from napari_sam.volume.image import ImageRef
from napari_sam.volume.link import LinkParams, link_planes
from napari_sam.volume.overlaps import count_overlaps
from napari_sam.volume.propagation.params import Axis
from napari_sam.volume.propagation.stack import turned

__all__ = ["STACKS", "StackItem", "read_stacks"]

LEAST_PLANES = 5
LEAST_AREA = 12  # pixels of an object in its largest plane, the mean of its planes


@dataclass(frozen=True)
class StackKind:
    """Volumes of a pack that are alike.

    Attributes
    ----------
    prefix
        Their ids begin with it.
    title
        Row of the table.
    along
        Axis to propagate along.
    channels
        Which ones the model sees; None: all.
    linked
        Whether numbers mean the same object on all planes; otherwise they are linked by overlap.
    longest
        Go along the axis on which the object is longest, as a person would.
    """

    prefix: str
    title: str
    along: Axis = "z"
    channels: tuple[int, ...] | None = None
    linked: bool = True
    longest: bool = False


STACKS = (
    StackKind("fib25", "FIB-SEM neurites"),
    StackKind("plantseg_ovule", "ovule cells"),
    StackKind("plantseg_nuclei", "ovule nuclei"),
    StackKind("stardist", "StarDist 3D nuclei"),
    StackKind("left_atrium", "left atrium MRI"),
    StackKind("spinal_cord", "spinal cord MRI", longest=True),
    StackKind("body_ct", "CT organs"),
    StackKind("yeast_timelapse", "yeast, through time", "t", (0,)),
    StackKind("laptrack_timelapse", "cells, through time", "t", linked=False),
)


@dataclass(frozen=True, eq=False)
class StackItem:
    """A volume or film with its true objects.

    Attributes
    ----------
    id, kind
        In the pack; which rows it belongs to.
    along
        Axis of propagation.
    image
        As the file has it.
    truth
        (planes, rows, columns) labels along the axis of propagation.
    objects
        Those that are asked for.
    """

    id: str
    kind: StackKind
    along: Axis
    image: ImageRef
    truth: NDArray[Any]
    objects: tuple[int, ...]


def read_stacks(
    source: Source, *, objects: int, planes: int | None = None, only: tuple[str, ...] = ()
) -> Iterator[StackItem]:
    """The volumes and films of a pack that :data:`STACKS` names.

    Parameters
    ----------
    source
        The pack.
    objects
        At most so many of each, drawn by the volume's name.
    planes
        At most so many, from the middle; None: all.
    only
        Beginnings of ids; all where empty.
    """
    for item in source.items:
        kind = next((k for k in STACKS if str(item["id"]).startswith(k.prefix)), None)
        if kind is None or (only and not str(item["id"]).startswith(only)):
            continue
        image, truth, along = _arrays(source, item, kind, planes)
        chosen = _draw(str(item["id"]), truth, objects)
        if chosen:
            yield StackItem(str(item["id"]), kind, along, image, truth, chosen)


def _arrays(
    source: Source, item: Item, kind: StackKind, planes: int | None
) -> tuple[ImageRef, NDArray[Any], Axis]:
    image, labels = source.read(item)
    image = _with_spacing(image, item)
    along = _longest(labels) if kind.longest else kind.along
    stacked = labels if along == "z" else turned(labels, along)
    truth = np.stack([stacked.read((0, p)) for p in range(stacked.depth)])
    if not kind.linked:
        truth = _linked(truth)
    if planes is None or planes >= len(truth):
        return image, truth, along
    first = (len(truth) - planes) // 2
    kept = np.take(_read_all(image), range(first, first + planes), image.axes.index(along))
    part = replace(image, source=kept, shape=kept.shape)
    return part, truth[first : first + planes], along


def _with_spacing(image: ImageRef, item: Item) -> ImageRef:
    """With the voxel size that the manifest knows."""
    known = item.get("pixel_size") or {}
    z, y, x = (float(known.get(axis, own)) for axis, own in zip("ZYX", image.spacing, strict=True))
    return image.with_spacing((z, y, x))


def _longest(labels: ImageRef) -> Axis:
    """The axis on which the labels reach farthest."""
    volume = np.stack([labels.read((0, p)) for p in range(labels.depth)]) > 0
    lengths = [np.ptp(place) for place in np.nonzero(volume)]
    axes: tuple[Axis, ...] = ("z", "y", "x")
    return axes[int(np.argmax(lengths))]


def _read_all(image: ImageRef) -> NDArray[Any]:
    """An array in the image's own axes."""
    stack = np.stack([[image.read((t, z)) for z in range(image.depth)] for t in range(image.times)])
    letters = [*"tzyx", *(["c"] if image.channels else [])]
    kept = [axis for axis in letters if axis in image.axes]
    squeezed = stack.reshape([n for n, a in zip(stack.shape, letters, strict=True) if a in kept])
    return squeezed.transpose([kept.index(axis) for axis in image.axes])


def _linked(truth: NDArray[Any]) -> NDArray[Any]:
    """The same objects with one number on all planes, by overlap."""
    parts = [np.unique(plane, return_inverse=True)[1].reshape(plane.shape) for plane in truth]
    areas = [np.bincount(part.ravel()) for part in parts]
    pairs = {
        (p - 1, p): count_overlaps(parts[p - 1].astype(np.uint32), parts[p].astype(np.uint32))
        for p in range(1, len(parts))
    }
    tables, _ = link_planes(areas, pairs, LinkParams())
    return np.stack([table[part] for table, part in zip(tables, parts, strict=True)])


def _draw(name: str, truth: NDArray[Any], count: int) -> tuple[int, ...]:
    """Objects of a few planes and pixels, the same ones each time."""
    fitting = []
    for one in np.unique(truth[truth > 0]).tolist():
        areas = np.count_nonzero(truth == one, axis=(1, 2))
        on = areas[areas > 0]
        if len(on) >= LEAST_PLANES and on.mean() >= LEAST_AREA:
            fitting.append(int(one))
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    chosen = draw.permutation(len(fitting))[:count]
    return tuple(sorted(fitting[i] for i in chosen))
