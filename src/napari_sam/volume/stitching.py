"""Labels of all tiles -> one label image: here, or on many machines. Knows the order of things.

Three rounds: which labels of a plane are one object; how objects overlap those of the planes above;
labels written. Only numbers of objects are linked in one place, after the second round. A plane is
written by one process, so no chunk has two writers, and the result is the same to the byte.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from napari_sam.progress import Progress, finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.link import LinkParams, link_planes
from napari_sam.volume.ome import LabelImage
from napari_sam.volume.overlaps import Overlaps, count_overlaps
from napari_sam.volume.run import CLAIMS
from napari_sam.volume.stitch import PlaneObjects, ReadLabels, find_objects, paint
from napari_sam.volume.store import TileStore, plain_errors, reopen
from napari_sam.volume.tiles import TileGrid

__all__ = ["Labelling", "Workers", "stitch_far", "stitch_here"]

TILES_AT_ONCE = 24  # tiles whose labels are in memory: a tile and those around it, twice
SLAB = 8  # planes that a worker measures; it needs those just above as well
Areas = dict[int, NDArray[np.int64]]
Pairs = dict[tuple[int, int], Overlaps]


@runtime_checkable
class Workers(Protocol):
    """Other processes that call functions."""

    def spread(
        self, function: Any, calls: Iterable[tuple[Any, ...]], *, keep: bool = False
    ) -> Generator[int, None, list[Any]]:
        """Call a function with each of the arguments: a job that yields how many are done.

        Returns
        -------
        list
            What came of the calls, in their order. With ``keep`` it stays where it is, and what is
            returned stands for it in the arguments of other calls.
        """
        ...


@dataclass(frozen=True)
class Labelling:
    """What becomes of the labels of tiles.

    Attributes
    ----------
    image
        The volume: axes and scale.
    root, name
        Where the labels go: see :class:`~napari_sam.volume.ome.LabelImage`.
    params
        How planes are linked.
    made_from
        Kept beside the labels.
    """

    image: ImageRef
    root: Path
    name: str
    params: LinkParams
    made_from: Mapping[str, Any]

    @property
    def reach(self) -> int:
        """How many planes above a plane are compared with it."""
        return 0 if self.params.planes_apart else self.params.gap + 1

    def number(
        self, grid: TileGrid, areas: Areas, pairs: Pairs
    ) -> tuple[LabelImage, list[NDArray[Any]], int]:
        """Link planes: empty labels, for each plane its table of final numbers, and their count."""
        tables, count = link_planes([areas[n] for n in sorted(areas)], pairs, self.params)
        dtype = "uint32" if count < 2**32 else "uint64"
        labels = LabelImage.create(
            self.root, self.name, self.image, dtype=dtype, tile=grid.write_size,
            made_from=self.made_from,
        )  # fmt: skip
        return labels, [table.astype(dtype) for table in tables], count


def stitch_here(store: TileStore, labelling: Labelling) -> Generator[Progress, None, LabelImage]:
    """Stitch in this process: a job that yields after each tile.

    What is in memory does not depend on the size of the volume, but for about 30 bytes an object.
    """
    grid, read = store.manifest.grid, _reader(store)
    planes = len(grid.planes)
    total = 2 * len(grid) + planes
    objects = {}
    for number in range(planes):
        yield Progress(number, total, "finding objects across seams")
        objects[number] = _found(store, read, number)
    areas: Areas = {}
    pairs: Pairs = {}
    done, said = planes, "linking planes" if labelling.reach else "measuring objects"
    for numbers in _stacks(grid):
        measuring = _measured(grid, numbers, objects, read, labelling.reach)
        done, measured = yield from _counted(measuring, done, total, said)
        areas |= measured[0]
        pairs |= measured[1]
    labels, tables, count = labelling.number(grid, areas, pairs)
    for number in range(planes):
        writing = _written(grid, number, objects[number], tables[number], labels, read)
        done, _ = yield from _counted(writing, done, total, "writing labels")
    labels.finish(count)
    return labels


def stitch_far(
    store: TileStore, labelling: Labelling, workers: Workers
) -> Generator[Progress, None, LabelImage]:
    """Stitch on many machines, which see store and labels under the same paths as this process.

    Here is only what links planes: about 30 bytes an object.
    """
    grid, path, reach = store.manifest.grid, str(store.path.resolve()), labelling.reach
    planes = len(grid.planes)
    slabs = [
        (numbers[max(0, first - reach) : first + SLAB], min(first, reach))
        for numbers in _stacks(grid)
        for first in range(0, len(numbers), SLAB)
    ]
    total = 2 * planes + len(slabs)
    finding = workers.spread(_find, [(path, number) for number in range(planes)], keep=True)
    objects = yield from _told(finding, 0, total, "finding objects across seams")
    measuring = workers.spread(
        _measure,
        ((path, some, [objects[n] for n in some], reach, lead) for some, lead in slabs),
    )
    measured = yield from _told(measuring, planes, total, "linking planes")
    areas = {number: area for part, _ in measured for number, area in part.items()}
    pairs = {pair: found for _, part in measured for pair, found in part.items()}
    labels, tables, count = labelling.number(grid, areas, pairs)
    where = str(labels.path.resolve())
    calls = ((path, where, n, objects[n], tables[n]) for n in range(planes))
    writing = workers.spread(_write, calls)
    yield from _told(writing, planes + len(slabs), total, "writing labels")
    labels.finish(count)
    for number in range(planes):
        with suppress(OSError):  # a worker that was given up may hold it still
            _claim(store, number).unlink(missing_ok=True)
    return labels


def _counted(
    steps: Generator[None, None, Any], done: int, total: int, said: str
) -> Generator[Progress, None, tuple[int, Any]]:
    """Tell each step; what came out at the end, and how many steps are done then."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return done, end.value
        done += 1
        yield Progress(done, total, said)


def _told(
    counts: Generator[int, None, list[Any]], before: int, total: int, said: str
) -> Generator[Progress, None, list[Any]]:
    """Tell what a round on workers has done."""
    try:
        while True:
            try:
                count = next(counts)
            except StopIteration as end:
                answers: list[Any] = end.value
                return answers
            yield Progress(before + count, total, said)
    finally:
        counts.close()


def _stacks(grid: TileGrid) -> list[range]:
    """Numbers of the planes that may hang together: those of each time."""
    depth = grid.shape[1]
    return [range(t * depth, (t + 1) * depth) for t in range(grid.shape[0])]


def _found(store: TileStore, read: ReadLabels, number: int) -> PlaneObjects:
    manifest = store.manifest
    plane = manifest.grid.planes[number]
    return find_objects(manifest.grid, plane, read, named="prompts" in manifest.params)


def _measured(
    grid: TileGrid,
    numbers: Sequence[int],
    objects: Mapping[int, PlaneObjects],
    read: ReadLabels,
    reach: int,
    lead: int = 0,
) -> Generator[None, None, tuple[Areas, Pairs]]:
    """Sizes of the objects of some planes, and how they overlap those of the planes above.

    The first ``lead`` planes are only compared with.
    """
    areas = {n: np.zeros(objects[n].count + 1, np.int64) for n in numbers[lead:]}
    parts: dict[tuple[int, int], list[Overlaps]] = {}
    for cell in np.ndindex(grid.cells):
        above: list[tuple[int, NDArray[np.uint32]]] = []
        for number in numbers:
            tile = grid.at(grid.planes[number], (cell[0], cell[1]))
            painted = paint(grid, tile, objects[number], read)
            if number in areas:
                areas[number] += np.bincount(painted.reshape(-1), minlength=len(areas[number]))
                for other, before in above:
                    parts.setdefault((other, number), []).append(count_overlaps(before, painted))
            above = [*above, (number, painted)][-reach:] if reach else []
            yield
    return areas, {pair: Overlaps.total(found) for pair, found in parts.items()}


def _written(
    grid: TileGrid,
    number: int,
    objects: PlaneObjects,
    table: NDArray[Any],
    labels: LabelImage,
    read: ReadLabels,
) -> Generator[None, None, None]:
    """Write the labels of a plane, tile by tile."""
    for tile in grid.on(grid.planes[number]):
        labels.write(tile.plane, tile.write, table[paint(grid, tile, objects, read)])
        yield


def _find(path: str, number: int) -> PlaneObjects:
    """The first round, of one plane, in a worker."""
    store = reopen(path)
    return _found(store, _reader(store), number)


def _measure(
    path: str, numbers: range, objects: list[PlaneObjects], reach: int, lead: int
) -> tuple[Areas, Pairs]:
    """The second round, of some planes, in a worker."""
    store = reopen(path)
    known = dict(zip(numbers, objects, strict=True))
    return finish(_measured(store.manifest.grid, numbers, known, _reader(store), reach, lead))


def _write(path: str, labels: str, number: int, objects: PlaneObjects, table: NDArray[Any]) -> None:
    """The third round, of one plane, in a worker.

    Tiles share chunks of the coarser levels, so a worker that was given up must not write still.
    """
    store, image = reopen(path), LabelImage(Path(labels))
    claim = _claim(store, number)
    with plain_errors(image.path):
        claim.parent.mkdir(exist_ok=True)
        with FileLock(claim):
            for _ in _written(store.manifest.grid, number, objects, table, image, _reader(store)):
                pass


def _claim(store: TileStore, number: int) -> Path:
    return store.path / CLAIMS / f"plane-{number}.lock"


def _reader(store: TileStore) -> ReadLabels:
    @lru_cache(maxsize=TILES_AT_ONCE)
    def read(index: int) -> NDArray[Any]:
        return store.read(index)["labels"]

    return lambda tile: read(tile.index)
