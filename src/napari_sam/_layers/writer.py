"""File > Save Selected Layers: Labels in our formats, with what a dock knows of their objects.

napari calls it; so does nobody else. The dock's own Save goes the same way, in a worker.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_sam._filing import object_set_of
from napari_sam._formats.files import write
from napari_sam._formats.object_set import ObjectSet
from napari_sam._layers.output import space


def write_labels(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer.

    Parameters
    ----------
    path
        The ending says how.
    data
        The layer's labels.
    meta
        What napari knows of the layer.

    Raises
    ------
    NapariSamError
        The format cannot hold them, or an extra is missing.
    OSError
        The disk is full or may not be written.
    """
    write(path, object_set_of(data) or _plain(data, meta))
    return [path]


def _plain(data: Any, meta: Mapping[str, Any]) -> ObjectSet:
    """Labels of which nothing is known beside their pixels."""
    labels = np.asarray(data[0] if meta.get("multiscale") or isinstance(data, list) else data)
    known = space(
        meta.get("axis_labels", ()),
        meta.get("scale", (1.0,) * labels.ndim),
        meta.get("units", ()),
    )
    return ObjectSet(labels.astype(np.uint32), image=str(meta.get("name", "")), **known)
