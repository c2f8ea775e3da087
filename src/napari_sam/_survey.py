"""The objects that are in an array of labels already, as records. Knows no steps and no window."""

from collections.abc import Iterator
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
        values = labels.read((first, *(slice(0, n) for n in shape[1:])))
        for name, count, place in _census(values):
            if name == 0:
                continue
            here = (slice(first.start + place[0].start, first.start + place[0].stop), *place[1:])
            old = records.get(name)
            region = here if old is None else enclosing((here, old.slices))
            records[name] = ObjectRecord(
                name,
                count + (0 if old is None else old.area),
                tuple((part.start, part.stop) for part in region),
                axes,
            )
    return records


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
