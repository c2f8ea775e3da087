"""Images on disk for the tests of volumes."""

from pathlib import Path

import numpy as np
import zarr


def write_ome_zarr(
    path: Path, data: np.ndarray, axes: str, *, version: str = "0.5", levels: int = 1
) -> Path:
    """An OME-Zarr image; z steps are 2 micrometers, y and x steps 0.5."""
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    kinds = {"t": "time", "c": "channel"}
    named = [
        {"name": a, "type": kinds.get(a, "space")} | ({"unit": "micrometer"} if a in "zyx" else {})
        for a in axes
    ]
    datasets = []
    for level in range(levels):
        factor = 2**level
        index = tuple(slice(None, None, factor if a in "yx" else 1) for a in axes)
        chunks = tuple(
            min(64, n) if a in "yx" else 1 for a, n in zip(axes, data.shape, strict=True)
        )
        names = list(axes) if version == "0.5" else None
        group.create_array(str(level), data=data[index], chunks=chunks, dimension_names=names)
        scale = [{"z": 2.0, "y": 0.5 * factor, "x": 0.5 * factor}.get(a, 1.0) for a in axes]
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    multiscales = [{"axes": named, "datasets": datasets, "name": "image"}]
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = [{**multiscales[0], "version": "0.4"}]
    return path
