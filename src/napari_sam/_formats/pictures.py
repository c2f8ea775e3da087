"""Labels as TIFF or as 16-bit PNG, with the table of objects among the file's notes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sam._formats.object_set import ObjectSet
from napari_sam._formats.table import read_table, table_of
from napari_sam._result_files import PROVENANCE_KEY, Write, labels_writer
from napari_sam.errors import ImageError

__all__ = ["read_png", "read_tiff", "writer"]


def writer(path: Path, objects: ObjectSet) -> Write:
    """What makes the file.

    Raises
    ------
    ImageError
        More planes or objects than a PNG can hold.
    """
    if path.suffix.lower() == ".png" and objects.labels.ndim != 2:
        raise ImageError("A PNG holds a single plane: write .tif or .zarr instead.")
    return labels_writer(path, objects.labels, provenance=table_of(objects), axes=objects.axes)


def read_tiff(path: Path) -> ObjectSet:
    """Labels of a TIFF, with their table if we wrote it."""
    with tifffile.TiffFile(path) as file:
        labels = file.series[0].asarray()
        said = (file.shaped_metadata or ({},))[0]
    return _object_set(path, labels, said.get(PROVENANCE_KEY))


def read_png(path: Path) -> ObjectSet:
    """Labels of a PNG of 8 or 16 bit, with their table if we wrote it."""
    with Image.open(path) as file:
        if file.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise ImageError(f"{path} is a picture in colours ({file.mode}), no labels.")
        text = getattr(file, "text", {}).get(PROVENANCE_KEY)
        labels = np.asarray(file)
    return _object_set(path, labels, None if text is None else json.loads(text))


def _object_set(path: Path, labels: NDArray[Any], said: Any) -> ObjectSet:
    labels = np.asarray(labels)
    if labels.ndim > 2 and 1 in labels.shape[:-2]:
        leading = tuple(i for i, n in enumerate(labels.shape[:-2]) if n == 1)
        labels = labels.squeeze(leading) if read_table(said) == {} else labels
    return ObjectSet(labels, **read_table(said))
