"""The objects that are in an array of labels already, as records. Knows no steps and no window."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._annotated import ObjectRecord
from napari_sam._label_edit import MOST_COUNTED, LabelImage, Region, enclosing


def survey(labels: LabelImage, axes: tuple[int, int]) -> dict[int, ObjectRecord]:
    """Records of all objects in an array, read plane by plane along its first axis."""
    records: dict[int, ObjectRecord] = {}
    shape = labels.shape
    for index in range(shape[0] if len(shape) > 2 else 1):
        first = slice(index, index + 1) if len(shape) > 2 else slice(0, shape[0])
        here = survey_region(labels, (first, *(slice(0, n) for n in shape[1:])), axes)
        for name, found in here.items():
            old = records.get(name)
            records[name] = found if old is None else joined(old, found)
    return records


def survey_region(
    labels: LabelImage, region: Region, axes: tuple[int, int]
) -> dict[int, ObjectRecord]:
    """Records of what of the objects lies in a region, which is read at once."""
    return {
        name: ObjectRecord(
            name,
            count,
            tuple((whole.start + part.start, whole.start + part.stop)
                  for whole, part in zip(region, place, strict=True)),
            axes,
        )
        for name, count, place in _census(labels.read(region))
        if name
    }  # fmt: skip


def joined(old: ObjectRecord, found: ObjectRecord) -> ObjectRecord:
    """A record, and pixels of the same object that it does not count yet."""
    region = enclosing((old.slices, found.slices)) if old.area else found.slices
    place = tuple((part.start, part.stop) for part in region)
    return replace(old, area=old.area + found.area, region=place)


def _census(values: NDArray[Any]) -> Iterator[tuple[int, int, Region]]:
    """Label, pixels and bounding box of all objects in an array."""
    names: NDArray[Any] | None = None
    if int(values.max(initial=0)) > MOST_COUNTED or int(values.min(initial=0)) < 0:
        names, inverse = np.unique(values, return_inverse=True)
        values = inverse.reshape(values.shape) + 1
    counts = np.bincount(values.ravel())
    for index, place in enumerate(ndimage.find_objects(values.astype(np.int32)), start=1):
        if place is not None:
            name = index if names is None else int(names[index - 1])
            yield name, int(counts[index]), place
