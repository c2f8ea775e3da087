"""The jobs on volumes: embed all tiles; segment all tiles and stitch them into labels.

Each is a generator of :class:`~napari_sam.Progress`: closing it cancels, calling it again with the
same arguments goes on where it stopped. Knows the order of things; each thing is a module.
"""

import json
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from filelock import FileLock, Timeout

import napari_sam
from napari_sam.core.params import AutomaticParams
from napari_sam.progress import Progress
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams
from napari_sam.volume.manifest import ArraySpec, Manifest
from napari_sam.volume.model import PredictorSource
from napari_sam.volume.ome import LabelImage
from napari_sam.volume.run import WAIT_S, Runner, run
from napari_sam.volume.sample import fingerprint
from napari_sam.volume.stitching import Labelling, Workers, stitch_far, stitch_here
from napari_sam.volume.store import TileStore, read_manifest
from napari_sam.volume.tiles import TileGrid
from napari_sam.volume.work import EmbedWork, SegmentWork

__all__ = [
    "VolumeJob",
    "embed_volume",
    "open_embeddings",
    "open_segmentation",
    "segment_volume",
    "stitch_volume",
]


@dataclass(frozen=True)
class VolumeJob:
    """What is segmented with what, and how it is cut.

    Attributes
    ----------
    image, intensity, model
        The volume, what the model sees of it, and the model.
    side, halo
        Of the tiles, in pixels: see :class:`~napari_sam.volume.tiles.TileGrid`.
    """

    image: ImageRef
    intensity: VolumeIntensity
    model: PredictorSource
    side: int
    halo: int

    @property
    def grid(self) -> TileGrid:
        """The tiles."""
        image = self.image
        return TileGrid((image.times, image.depth, *image.size), self.side, self.halo)

    def digest(self, params: dict[str, Any]) -> str:
        """A short name for what decides the results: for folders that must not be mixed up."""
        plain = json.dumps(self.manifest("any", params).as_dict() | {"notes": None}, sort_keys=True)
        return xxhash.xxh3_64_hexdigest(plain.encode())[:8]

    def manifest(self, kind: str, params: dict[str, Any]) -> Manifest:
        """All that decides the results."""
        source = self.image.source if isinstance(self.image.source, str) else None
        return Manifest(
            kind=kind,
            model=self.model.identity(),
            image={**fingerprint(self.image), "level": self.image.level},
            grid=self.grid,
            intensity=self.intensity.as_dict(),
            params=params,
            notes={"image": source, "version": napari_sam.__version__},
        )


def embed_volume(
    job: VolumeJob, store: str | Path, *, dtype: str = "float16", runner: Runner = run
) -> Generator[Progress, None, TileStore]:
    """Compute and keep the embeddings of all tiles.

    Parameters
    ----------
    job
        What with what.
    store
        Folder; made, or gone on with.
    dtype
        ``"float16"``, ``"bfloat16"`` or ``"float32"``: how numbers are kept.
    runner
        Where tiles are made: in this process, or by :mod:`napari_sam.volume.distributed`.

    Raises
    ------
    StoreMismatchError
        The store was made from something else.
    StoreIncompleteError
        Tiles could not be read: the others are there.
    StoreError
        The disk is full.
    """
    opened = open_embeddings(job, Path(store), dtype)
    yield from runner(EmbedWork(job.image, job.intensity, job.model), opened)
    opened.require_complete()
    return opened


def segment_volume(
    job: VolumeJob,
    store: str | Path,
    *,
    params: AutomaticParams,
    min_area: int = 0,
    embeddings: str | Path | None = None,
    dtype: str = "float16",
    runner: Runner = run,
) -> Generator[Progress, None, TileStore]:
    """Find all objects in all tiles; :func:`stitch_volume` makes labels of them.

    Parameters
    ----------
    job, store
        As for :func:`embed_volume`, but the store is one of labels.
    params
        Of the generator, for each tile.
    min_area
        Objects of fewer pixels in a tile are left out.
    embeddings, dtype
        Store of embeddings to use and to fill, as for :func:`embed_volume`; None keeps none.
    runner
        As for :func:`embed_volume`.

    Raises
    ------
    StoreMismatchError, StoreIncompleteError, StoreError
        As :func:`embed_volume`.
    """
    work, opened = open_segmentation(
        job, store, params=params, min_area=min_area, embeddings=embeddings, dtype=dtype
    )
    yield from runner(work, opened)
    opened.require_complete()
    return opened


def open_segmentation(
    job: VolumeJob,
    store: str | Path,
    *,
    params: AutomaticParams,
    min_area: int = 0,
    embeddings: str | Path | None = None,
    dtype: str = "float16",
) -> tuple[SegmentWork, TileStore]:
    """What makes the labels of tiles, and the store that keeps them: made, or gone on with.

    Parameters and errors are those of :func:`segment_volume`.
    """
    settings = {
        "generator": _plain(params),
        "min_area": min_area,
        "embeddings": dtype if embeddings is not None else None,
    }
    manifest = job.manifest("labels", settings)
    size = job.grid.read_size
    manifest = replace(manifest, arrays=(ArraySpec("labels", size, "uint32"),))
    opened = TileStore.create(store, manifest)
    if embeddings is not None:
        open_embeddings(job, Path(embeddings), dtype)
    where = str(embeddings) if embeddings is not None else None
    return SegmentWork(job.image, job.intensity, job.model, params, min_area, where), opened


def stitch_volume(
    store: TileStore,
    image: ImageRef,
    root: str | Path,
    name: str,
    *,
    params: LinkParams | None = None,
    runner: Runner = run,
) -> Generator[Progress, None, LabelImage]:
    """Make one label image of the labels of all tiles: ``labels/<name>`` below ``root``.

    What is in memory does not depend on the size of the volume, but for about 30 bytes an object.
    Labels that are complete are left alone, so that edits by hand stay.

    Parameters
    ----------
    store
        From :func:`segment_volume`, complete.
    image
        The volume: axes and scale.
    root, name
        Where the labels go: see :class:`~napari_sam.volume.ome.LabelImage`.
    params
        How planes are linked.
    runner
        One that can call functions elsewhere (:class:`~napari_sam.volume.stitching.Workers`) does
        so with whole planes; any other one is not asked.

    Raises
    ------
    StoreIncompleteError
        Tiles are missing.
    StoreMismatchError
        There are other labels of this name.
    """
    params = params or LinkParams()
    store.require_complete()
    made_from = {"tiles": store.manifest.as_dict(), "link": asdict(params)}
    made_from["tiles"].pop("notes")
    with ExitStack() as held:
        yield from _alone(store.path / "stitch.lock", held)
        begun = LabelImage.begun(Path(root), name, made_from)
        if begun is not None and begun.complete:
            yield Progress(1, 1, "labels are complete")
            return begun
        labelling = Labelling(image, Path(root), name, params, made_from)
        if isinstance(runner, Workers):
            return (yield from stitch_far(store, labelling, runner))
        return (yield from stitch_here(store, labelling))


def _alone(lock: Path, held: ExitStack) -> Generator[Progress, None, None]:
    """Wait until no other process holds a lock; it goes with the process that holds it."""
    while True:
        try:
            held.enter_context(FileLock(lock, timeout=0, thread_local=False))
            return
        except Timeout:
            yield Progress(0, 1, "waiting for another process")
            time.sleep(WAIT_S)


def open_embeddings(job: VolumeJob, path: Path, dtype: str) -> TileStore:
    """The store of embeddings of a job: made, or gone on with.

    Raises
    ------
    StoreMismatchError, StoreError
        As :func:`embed_volume`.
    """
    manifest = job.manifest("embeddings", {"dtype": dtype})
    # The model is probed only where the store does not tell yet what it holds.
    if read_manifest(path) is None:
        work = EmbedWork(job.image, job.intensity, job.model)
        arrays, frame = work.probe(job.grid.read_size, dtype)
        manifest = replace(manifest, arrays=arrays, frame=frame)
    return TileStore.create(path, manifest)


def _plain(params: AutomaticParams) -> dict[str, Any]:
    values = asdict(params)
    if values["point_grids"] is not None:
        values["point_grids"] = [np.asarray(grid).tolist() for grid in values["point_grids"]]
    return values
