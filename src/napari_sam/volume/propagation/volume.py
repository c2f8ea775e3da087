"""propagate_volume: seeds of a whole volume in a file -> labels of a whole volume in a file.

For the command line and for clusters: what is in memory does not depend on how many planes there
are. What the model answers is kept in a folder, so a job that was killed goes on where it was, and
ends with the same bytes. Knows files; what is done on planes is in ``job.py``.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from platform import node
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, PromptError
from napari_sam.progress import Progress
from napari_sam.volume.embedder import Embedder
from napari_sam.volume.image import ImageRef
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation.job import propagate_objects
from napari_sam.volume.propagation.key_plane import KeyPlane
from napari_sam.volume.propagation.memory import FolderMemory
from napari_sam.volume.propagation.params import Axis, PropagateParams
from napari_sam.volume.propagation.result import Origin, Propagation
from napari_sam.volume.propagation.stack import turned

__all__ = ["Curve", "PropagatedVolume", "propagate_volume"]

_AXES: dict[str, int] = {"t": 0, "z": 1, "y": 2, "x": 3}


@dataclass(frozen=True)
class Curve:
    """One object on one plane, for a table.

    Attributes
    ----------
    at, plane
        Point on the other axis (z or t), and plane along the axis of propagation.
    id, score, origin, area
        Of the object; pixels.
    """

    at: int
    plane: int
    id: int
    score: float
    origin: Origin
    area: int


@dataclass(eq=False)
class PropagatedVolume:
    """What came of it.

    Attributes
    ----------
    labels
        (t, z, y, x) on disk; 0 is background.
    rows
        Each object on each plane.
    parts
        Summary for each point on the other axis that has seeds.
    """

    labels: NDArray[Any]
    rows: list[Curve] = field(default_factory=list)
    parts: dict[int, Propagation] = field(default_factory=dict)

    def remove(self) -> None:
        """Take the labels off the disk; they cannot be read any more."""
        if isinstance(self.labels, np.memmap) and self.labels.filename is not None:
            Path(self.labels.filename).unlink(missing_ok=True)

    @property
    def ids(self) -> tuple[int, ...]:
        """Of all objects that are there."""
        return tuple(sorted({row.id for row in self.rows}))


def propagate_volume(
    job: VolumeJob,
    seeds: ImageRef,
    folder: str | Path,
    params: PropagateParams | None = None,
    *,
    along: Axis = "z",
    embeddings: str | Path | None = None,
) -> Generator[Progress, None, PropagatedVolume]:
    """Propagate the objects of a label volume that is empty but for its key planes.

    Parameters
    ----------
    job
        Image (as the file has it), model, intensity and tiles.
    seeds
        Labels of the image's size; ids are kept.
    folder
        For what the model has answered, and for the labels (``labels-*.npy``) while they grow.
    params
        How.
    along
        The axis.
    embeddings
        Store of embeddings of the planes along z, used and added to; None keeps none.

    Raises
    ------
    PromptError
        The seeds are empty, or say something of planes that are out of bounds.
    ImageError
        Image and seeds differ in size, or seeds are no labels.
    StoreError
        The disk is full.
    """
    _check_seeds(job.image, seeds)
    if along != "z" and embeddings is not None:
        raise PromptError(f"kept embeddings are of planes along z; along {along}, leave them out.")
    image, turned_seeds = job.image, seeds
    if along != "z":
        image, turned_seeds = turned(image, along), turned(seeds, along)
    planes = VolumeJob(image, job.intensity, job.model, job.side, job.halo)
    embedder = Embedder(planes, None if embeddings is None else Path(embeddings))
    where = Path(folder) / f"answers-{job.digest({'propagated along': along})}"
    found = PropagatedVolume(_labels_file(Path(folder), job.image, seeds))
    view = np.swapaxes(found.labels, 1, _AXES[along])
    count = 0
    for at in range(turned_seeds.times):
        keys = tuple(_keys(turned_seeds, at))
        if not keys:
            continue
        count += 1
        answers = FolderMemory(where / f"at-{at:06d}")
        yield from _one(job.image, keys, params, along, at, embedder, answers, found, view)
    if not count:
        raise PromptError(
            f"the seeds ({seeds.describe()}) are empty: label an object on at least one plane."
        )
    return found


def _one(
    image: ImageRef,
    keys: tuple[KeyPlane, ...],
    params: PropagateParams | None,
    along: Axis,
    at: int,
    embedder: Embedder,
    answers: FolderMemory,
    found: PropagatedVolume,
    view: NDArray[Any],
) -> Generator[Progress, None, None]:
    """All planes at one point of the other axis."""
    running = propagate_objects(
        image, keys, params=params, along=along, at=at, embeddings=embedder, memory=answers
    )
    while True:
        try:
            step = next(running)
        except StopIteration as end:
            found.parts[at] = end.value
            found.rows.sort(key=lambda row: (row.at, row.plane, row.id))
            return
        for result in step.results:
            result.paint(view[at, result.plane])
            found.rows += [
                Curve(at, result.plane, o.id, o.score, o.origin, int(np.count_nonzero(o.mask)))
                for o in result.objects
            ]
        yield step


def _keys(seeds: ImageRef, at: int) -> Iterator[KeyPlane]:
    """The planes of the seeds that are not empty, one read at a time."""
    for plane in range(seeds.depth):
        labels = seeds.read((at, plane))
        if labels.any():
            yield KeyPlane(plane, labels)


def _check_seeds(image: ImageRef, seeds: ImageRef) -> None:
    sizes = [(one.times, one.depth, *one.size) for one in (image, seeds)]
    if sizes[0] != sizes[1] or seeds.channels is not None:
        raise ImageError(
            f"the seeds ({seeds.describe()}) do not fit the image ({image.describe()}): labels of"
            " the same planes, rows and columns are wanted, without channels."
        )
    if np.dtype(seeds.dtype).kind not in "iub":
        raise ImageError(f"the seeds have dtype {seeds.dtype}; labels are whole numbers.")


def _labels_file(folder: Path, image: ImageRef, seeds: ImageRef) -> NDArray[Any]:
    """Empty labels on disk, in the number format of the seeds; each process has its own."""
    from napari_sam.volume.store import plain_errors

    kind = np.dtype(seeds.dtype)
    dtype = np.uint64 if kind.itemsize == 8 else np.uint32 if kind.itemsize == 4 else np.uint16
    shape = (image.times, image.depth, *image.size)
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"labels-{node()}-*.npy"):
            if not _lives(int(path.stem.rpartition("-")[2])):  # it was killed
                with suppress(PermissionError):  # Windows: somebody has it open
                    path.unlink(missing_ok=True)
        path = folder / f"labels-{node()}-{os.getpid()}.npy"
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _lives(process: int) -> bool:
    if os.name == "nt":  # to ask would interrupt it there; its open file cannot be removed anyway
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process != os.getpid()
