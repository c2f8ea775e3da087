"""Jobs of the dock on planes that are cut into tiles: a click, looking ahead, precomputing.

Each is a generator of Progress. Knows the predictor and the tiles; no session, no layers, and of
threads only that several may ask the pool at once.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import TYPE_CHECKING

from napari_sam._predict import (
    Load,
    MaskPatch,
    PredictorPool,
    PredictRequest,
    PredictResponse,
    is_ambiguous,
)
from napari_sam._preload import gentle_import
from napari_sam._volume_source import LoadedModel, TileSetup
from napari_sam.core.regions import Region
from napari_sam.errors import StoreMismatchError
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.volume.clicks import Answer
    from napari_sam.volume.embedder import Embedder
    from napari_sam.volume.pipelines import VolumeJob
    from napari_sam.volume.tiles import Tile, TileGrid

SETUPS_KEPT = 3
NAP_S = 0.05
SLOW_S = 5.0  # a model that needs longer for a tile is not let work ahead
MOST_AHEAD = 8  # neighbours; with one plane on either side


class TilePool:
    """The embedders used last: one for each setup. Safe to share between threads."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._entries: OrderedDict[Hashable, Embedder] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, setup: TileSetup) -> "Embedder":
        """The embedder of a setup; the first time, a sample of the volume is read.

        Raises
        ------
        NapariSamError
            The image cannot be read.
        """
        with self._lock:
            if setup.key not in self._entries:
                self._entries[setup.key] = self._make(setup)
            self._entries.move_to_end(setup.key)
            while len(self._entries) > SETUPS_KEPT:
                self._entries.popitem(last=False)
            return self._entries[setup.key]

    def known(self, setup: TileSetup) -> "Embedder | None":
        """The embedder, if it is there; asks nothing and reads nothing."""
        return self._entries.get(setup.key)

    def _make(self, setup: TileSetup) -> "Embedder":
        with gentle_import():
            from napari_sam.volume.embedder import Embedder

        job = job_of(setup, self.load)
        settings = setup.settings
        kept = settings.keep and setup.source.in_file
        folder = setup.source.folder / f"embeddings-{setup.model.name}" if kept else None
        made = Embedder(job, folder, dtype=settings.dtype, closer=True)
        if folder is not None:
            try:
                made.store  # noqa: B018  (opens it)
            except StoreMismatchError:  # other tiles or intensities have that name already
                other = folder.with_name(f"{folder.name}-{job.digest({'dtype': settings.dtype})}")
                return Embedder(job, other, dtype=settings.dtype, closer=True)
        return made


def job_of(setup: TileSetup, load: Load) -> "VolumeJob":
    """A setup as a job takes it. Reads a sample of the volume."""
    from napari_sam.volume.intensity import VolumeIntensity
    from napari_sam.volume.pipelines import VolumeJob

    image = setup.source.ref(setup.settings.level)
    several = image.channels is not None and setup.channel is not None
    channels = (setup.channel,) if several and setup.channel is not None else None
    intensity = VolumeIntensity.measure(image, setup.intensity, channels=channels)
    side, halo = setup.settings.cut(setup.model.name)
    return VolumeJob(image, intensity, LoadedModel(setup.model, load), side, halo)


def predict_tiled(
    request: PredictRequest, setup: TileSetup, pool: TilePool
) -> Generator[Progress, None, PredictResponse]:
    """Answer a request on a plane of tiles. A job, as :func:`~napari_sam._predict.predict`.

    Raises
    ------
    NapariSamError
        From loading the model, reading and encoding, or decoding.
    """
    yield Progress(0, 0, "Loading the model ...")
    predictor = pool.load(request.model)
    with gentle_import():
        from napari_sam.volume.clicks import solve
    yield Progress(0, 0, "Opening the volume ...")
    place = setup.source.at(request.plane)
    assert place is not None
    answers = yield from solve(
        pool(setup),
        place[0],
        request.prompts,
        multimask=is_ambiguous(request.prompts) and not request.sketches,
        zoom=setup.zoom,
        sketches=request.sketches,
    )
    single = len(answers) == 1
    runtime = getattr(predictor, "runtime", None)
    load = pool.load
    return PredictResponse(
        request.generation,
        request.plane,
        tuple(_patches(answer, all_of_them=single) for answer in answers),
        int(answers[0].scores.argmax()) if single else 0,
        "" if runtime is None else runtime.describe(),
        request.note,
        load.weights(request.model) if isinstance(load, PredictorPool) else "",
    )


def _patches(answer: "Answer", *, all_of_them: bool) -> tuple[MaskPatch, ...]:
    best = int(answer.scores.argmax())
    patches = []
    for candidate in range(len(answer.scores)) if all_of_them else (best,):
        mask, (rows, columns) = answer.patch(candidate)
        score = float(answer.scores[candidate])
        patches.append(MaskPatch((rows.start, columns.start), mask, score))
    return tuple(patches)


def look_ahead(
    setup: TileSetup,
    plane: tuple[int, int],
    at: tuple[float, float],
    pool: TilePool,
    *,
    unwanted: Callable[[], bool],
) -> Generator[Progress, None, int]:
    """Look at the tiles that the next click may need; how many were made. A job.

    Parameters
    ----------
    setup, plane
        What is worked on.
    at
        (y, x) of the last click, in pixels of the finest level.
    unwanted
        Once it says so, all stops, in the middle of a tile too: clicks do not wait.
    """
    from napari_sam.core.interrupt import Interrupted

    embedder = pool(setup)
    y, x = ((value + 0.5) / zoom - 0.5 for value, zoom in zip(at, setup.zoom, strict=True))
    made = 0
    for tile in next_tiles(embedder.grid, plane, (y, x)):
        yield Progress(made, 0, "Looking ahead ...")
        if unwanted():
            break
        if embedder.has(tile):
            continue
        started = time.monotonic()
        try:
            embedder.tile(tile, unwanted=unwanted)
        except Interrupted:
            break
        made += 1
        if time.monotonic() - started > SLOW_S:
            break
    return made


def next_tiles(grid: "TileGrid", plane: tuple[int, int], at: tuple[float, float]) -> "list[Tile]":
    """Tiles in the order in which they may be needed: the planes beside, then the neighbours."""
    rows, columns = grid.cells
    cell = tuple(
        min(max(int(value) // size, 0), count - 1)
        for value, size, count in zip(at, grid.write_size, (rows, columns), strict=True)
    )
    t, z = plane
    beside = [(t, z + step) for step in (1, -1) if 0 <= z + step < grid.shape[1]]
    beside += [(t + 1, z)] if grid.shape[1] == 1 and t + 1 < grid.shape[0] else []
    here = grid.at(plane, (cell[0], cell[1]))

    def distance(tile: "Tile") -> float:
        middles = [(part.start + part.stop) / 2 for part in tile.write]
        return float(sum((m - p) ** 2 for m, p in zip(middles, at, strict=True)))

    around = [
        tile
        for tile in grid.around(here)
        if tile.index != here.index
        and max(abs(a - b) for a, b in zip(tile.cell, here.cell, strict=True)) == 1
    ]
    neighbours = sorted(around, key=distance)[:MOST_AHEAD]
    return [here, *(grid.at(other, here.cell) for other in beside), *neighbours]


def precompute(
    setup: TileSetup,
    tiles: "Callable[[TileGrid], Sequence[int]]",
    pool: TilePool,
    *,
    busy: Callable[[], bool],
) -> Generator[Progress, None, int]:
    """Look at many tiles, one after the other; how many there are. A job.

    Parameters
    ----------
    setup
        What is worked on.
    tiles
        Which ones: numbers in the grid.
    busy
        Whether a click is at work: it goes first, and a tile that was begun is begun again.
    """
    from napari_sam.core.interrupt import Interrupted

    yield Progress(0, 0, "Loading the model ...")
    pool.load(setup.model)
    yield Progress(0, 0, "Opening the volume ...")
    embedder = pool(setup)
    numbers = tiles(embedder.grid)
    for done, index in enumerate(numbers):
        tile = embedder.grid.tile(index)
        report = Progress(done, len(numbers), f"tile {tile.key}")
        yield report
        while not embedder.has(tile):
            while busy():
                time.sleep(NAP_S)
                yield report
            try:
                embedder.tile(tile, unwanted=busy)
            except Interrupted:
                yield report
    yield Progress(len(numbers), len(numbers), "tiles are ready")
    return len(numbers)


def tiles_in(grid: "TileGrid", planes: Sequence[tuple[int, int]], region: Region) -> list[int]:
    """Numbers of the tiles of some planes whose write regions touch a region, in order."""
    from napari_sam.volume.tiles import intersection

    return [
        tile.index for plane in planes for tile in grid.on(plane)
        if intersection(tile.write, region) is not None
    ]  # fmt: skip
