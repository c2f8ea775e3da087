"""Consensus of three axes: objects are carried along z, y and x, and two of three decide.

What is found along z gives the seeds of the other two: of each object the plane across y, and the
one across x, on which it is largest. Only where voxels are about cubes: on planes across coarse
ones the model sees squeezed objects. Knows runs and labels; asks no model.
"""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import PromptError
from napari_sam.progress import Progress
from napari_sam.volume.image import ImageRef
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation.params import Axis, PropagateParams
from napari_sam.volume.propagation.volume import PropagatedVolume, propagate_volume

__all__ = ["consensus_volume"]

MOST_SQUEEZED = 1.5  # longest side of a voxel by its shortest


def consensus_volume(
    job: VolumeJob, seeds: ImageRef, folder: str | Path, params: PropagateParams | None = None
) -> Generator[Progress, None, PropagatedVolume]:
    """As :func:`~napari_sam.volume.propagation.volume.propagate_volume` along z, and along y and x.

    A voxel gets the label on which two of the three agree; seeds stay as they are. Scores and
    origins are those along z, areas are counted anew. Bounds hold for z.

    Raises
    ------
    PromptError
        Voxels are no cubes, or the seeds are empty.
    NapariSamError
        As from a propagation along z.
    """
    params = params or PropagateParams()
    spacing = params.spacing or job.image.spacing
    if max(spacing) > MOST_SQUEEZED * min(spacing):
        raise PromptError(
            f"a consensus of three axes needs voxels that are about cubes; these are {spacing}"
            f" (z, y, x), and {MOST_SQUEEZED} times as long as wide is the most. Leave it out."
        )
    found = yield from propagate_volume(job, seeds, folder, params)
    free = params.changed(first_plane=None, last_plane=None, spacing=None)
    others = []
    axes: tuple[Axis, ...] = ("y", "x")
    for along in axes:
        across = ImageRef.open(_sections(found.labels, along, Path(folder)), axes="tzyx")
        across = across.with_spacing(spacing)
        cubes = VolumeJob(
            job.image.with_spacing(spacing), job.intensity, job.model, job.side, job.halo
        )
        where = Path(folder) / f"along-{along}"
        others.append((yield from propagate_volume(cubes, across, where, free, along=along)))
    yield from _vote(found, [other.labels for other in others], seeds)
    for other in others:
        other.remove()
    return found


def _sections(labels: NDArray[Any], along: str, folder: Path) -> NDArray[Any]:
    """(t, z, y, x): of each object the plane across an axis on which it is largest, else 0.

    On disk, in a file without a name: it is as large as the volume, and goes with the process.
    """
    axis = "tzyx".index(along)
    with TemporaryFile(dir=folder) as file:
        seeds = np.memmap(file, labels.dtype, "w+", shape=labels.shape)
    for t, volume in enumerate(np.asarray(labels)):
        planes = np.moveaxis(volume, axis - 1, 0)
        made = np.moveaxis(seeds[t], axis - 1, 0)
        largest: dict[int, tuple[int, int]] = {}  # object -> area, and the first such plane
        for plane, values in enumerate(planes):
            for one, area in zip(*np.unique(values, return_counts=True), strict=True):
                if one and area > largest.get(int(one), (0, 0))[0]:
                    largest[int(one)] = int(area), plane
        for one, (_, plane) in largest.items():
            made[plane][planes[plane] == one] = one
    return seeds


def _vote(
    found: PropagatedVolume, others: list[NDArray[Any]], seeds: ImageRef
) -> Generator[Progress, None, None]:
    """Two of three decide, plane by plane, in place."""
    second, third = others
    areas: dict[tuple[int, int, int], int] = {}
    for t, z in seeds.planes:
        yield Progress(z, seeds.depth, "consensus of three axes")
        first, b, c = found.labels[t, z], second[t, z], third[t, z]
        agreed = np.where((first == b) | (first == c), first, np.where(b == c, b, 0))
        drawn = seeds.read((t, z))
        found.labels[t, z] = np.where(drawn > 0, drawn, agreed)
        for one, area in zip(*np.unique(found.labels[t, z], return_counts=True), strict=True):
            areas[t, z, int(one)] = int(area)
    rows = [(row, areas.get((row.at, row.plane, row.id), 0)) for row in found.rows]
    found.rows[:] = [replace(row, area=area) for row, area in rows if area]
