"""What the tab Volume lets run: tiles looked at, a part segmented, a volume segmented, the map.

Generators of Progress. Knows the library's jobs; no session, no layers, no threads.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam._predict import Origin, weights_of
from napari_sam._tiled import TilePool, precompute, tiles_in
from napari_sam._volume import Found, TileMap, TileTask, edges
from napari_sam.core.regions import Region
from napari_sam.errors import StoreMismatchError
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam._predict import Plane
    from napari_sam._volume_source import TileSetup
    from napari_sam.volume.ome import LabelImage
    from napari_sam.volume.pipelines import VolumeJob
    from napari_sam.volume.store import TileStore
    from napari_sam.volume.tiles import TileGrid
    from napari_sam.volume.work import SegmentWork

MOST_NAMES = 100


@dataclass(frozen=True)
class Finished:
    """How a task ended: a sentence, and the folder of the labels it made."""

    text: str
    path: str | None = None


def run_task(
    task: TileTask, pool: TilePool, *, busy: Callable[[], bool]
) -> Generator[Progress, None, "Finished | Found"]:
    """Do what a task says. A job.

    Raises
    ------
    NapariSamError
        From reading, the model, or the disk.
    """
    if task.task == "look":
        return (yield from _look(task, pool, busy))
    yield Progress(0, 0, "Loading the model ...")
    pool.load(task.setup.model)
    yield Progress(0, 0, "Opening the volume ...")
    job = pool(task.setup).job
    if task.scope == "volume":
        return (yield from _segment_volume(task, job, pool))
    return (yield from _segment_part(task, job, pool))


def _look(
    task: TileTask, pool: TilePool, busy: Callable[[], bool]
) -> Generator[Progress, None, Finished]:
    region = _in_tiles(task.region, task.setup.zoom)

    def wanted(grid: "TileGrid") -> list[int]:
        if task.scope == "volume":
            return list(range(len(grid)))
        return tiles_in(grid, [task.place], region)

    count = yield from precompute(task.setup, wanted, pool, busy=busy)
    return Finished(f"{count} tiles are ready: clicks there need no waiting.")


def _open(task: TileTask, job: "VolumeJob", pool: TilePool) -> "tuple[SegmentWork, TileStore]":
    """The store of a run: of this name, or of the name and a digest where another has it."""
    from napari_sam.volume.pipelines import open_segmentation

    embedder = pool(task.setup)
    kept = embedder.path
    options = {"embeddings": kept, "dtype": task.setup.settings.dtype}
    folder = task.setup.source.folder
    path = folder / f"tiles-{task.name}"

    def opened(path: Path) -> "tuple[SegmentWork, TileStore]":
        return open_segmentation(
            job, path, params=task.params, min_area=task.least_area, **options  # type: ignore[arg-type]
        )  # fmt: skip

    try:
        return opened(path)
    except StoreMismatchError:
        digest = job.digest({"params": repr(task.params), "area": task.least_area})
        return opened(path.with_name(f"{path.name}-{digest}"))


def _segment_part(
    task: TileTask, job: "VolumeJob", pool: TilePool
) -> Generator[Progress, None, Found]:
    from napari_sam.volume.part import segment_part

    work, store = _open(task, job, pool)
    region, labels = yield from segment_part(
        work, store, task.place, _in_tiles(task.region, task.setup.zoom)
    )
    numbers = np.unique(labels[labels > 0])
    compact = np.searchsorted(numbers, labels).astype(np.uint32) + 1
    canvas = np.where(labels > 0, compact, 0).astype(np.uint32)
    (y, x), canvas = _enlarged(region, canvas, task)
    place = (slice(y, y + canvas.shape[0]), slice(x, x + canvas.shape[1]))
    setup = task.setup
    weights = weights_of(pool.load, setup.model)
    origin = Origin(setup.model.name, weights, setup.intensity)
    return Found(task.plane, place, canvas, (float("nan"),) * len(numbers), origin)


def _enlarged(
    region: Region, canvas: np.ndarray, task: TileTask
) -> tuple[tuple[int, int], np.ndarray]:
    """Labels of a coarse level in pixels of the finest."""
    zoom, size = task.setup.zoom, task.setup.source.size
    if zoom == (1.0, 1.0):
        return (region[0].start, region[1].start), canvas
    places = []
    for part, factor, length in zip(region, zoom, size, strict=True):
        fine = np.arange(round(part.start * factor), min(round(part.stop * factor), length))
        coarse = ((fine + 0.5) / factor).astype(int) - part.start
        places.append((int(fine[0]), np.clip(coarse, 0, part.stop - part.start - 1)))
    (y, rows), (x, columns) = places
    return (y, x), canvas[np.ix_(rows, columns)]


def _segment_volume(
    task: TileTask, job: "VolumeJob", pool: TilePool
) -> Generator[Progress, None, Finished]:
    from napari_sam.volume.run import run

    work, store = _open(task, job, pool)
    yield from run(work, store)
    store.require_complete()
    labels = yield from _stitched(task, job, store)
    return Finished(f"{labels.count} objects in {labels.path}", str(labels.path))


def _stitched(
    task: TileTask, job: "VolumeJob", store: "TileStore"
) -> "Generator[Progress, None, LabelImage]":
    """Labels of this name; where other labels have it, of the name and a number."""
    from napari_sam.volume.pipelines import stitch_volume

    root = labels_root(task.setup)
    for number in range(1, MOST_NAMES):
        name = task.name if number == 1 else f"{task.name}-{number}"
        try:
            return (yield from stitch_volume(store, job.image, root, name))
        except StoreMismatchError:
            continue
    raise StoreMismatchError(f"{root} has {MOST_NAMES} labels {task.name!r}: take another name.")


def labels_root(setup: "TileSetup") -> Path:
    """Where labels go: into the OME-Zarr image, or into a group beside another image."""
    source = setup.source
    return root_of(source.path, source.folder)


def root_of(path: str | None, folder: Path) -> Path:
    """As :func:`labels_root`, of the path of an OME-Zarr image and the folder beside it."""
    return Path(path) if path is not None else folder / "labels.zarr"


def make_map(
    setup: "TileSetup", plane: "Plane", pool: TilePool
) -> Generator[Progress, None, TileMap | None]:
    """Find out which tiles of a plane are done. A job."""
    yield Progress(0, 0, "")
    embedder, found = pool.known(setup), setup.source.at(plane)
    if embedder is None or found is None:
        return None
    done = embedder.done_on(found[0])
    tiles = list(embedder.grid.on(found[0]))
    height, width = embedder.plane_size
    zoom = setup.zoom
    rows = sorted({tile.write[0].start for tile in tiles})
    columns = sorted({tile.write[1].start for tile in tiles})
    return TileMap(plane, done, edges(rows, height, zoom[0]), edges(columns, width, zoom[1]))


def _in_tiles(region: Region, zoom: tuple[float, float]) -> Region:
    rows, columns = (
        slice(int(part.start / factor), max(int(part.stop / factor), int(part.start / factor) + 1))
        for part, factor in zip(region, zoom, strict=True)
    )
    return (rows, columns)
