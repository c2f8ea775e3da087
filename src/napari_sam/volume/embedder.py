"""Embeddings of tiles and crops when they are asked for: from memory, from disk, or made and kept.

Knows a job and its store of embeddings, which automatic segmentation uses, too. Several threads may
ask at once; what one is making the others wait for. Knows no prompts.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Region, Size
from napari_sam.volume.image import Plane
from napari_sam.volume.pipelines import VolumeJob, open_embeddings
from napari_sam.volume.reduced import read_reduced
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import Tile
from napari_sam.volume.work import EmbedWork, embedding_arrays, read_embedding

if TYPE_CHECKING:
    from napari_sam.core.predictor import ImageEmbedding

__all__ = ["Embedder", "as_size"]

MOST_BYTES = 512 << 20
Unwanted = Callable[[], bool]


class Embedder:
    """Image embeddings of one job.

    Parameters
    ----------
    job
        Image, model, intensity and tiles.
    store
        Folder for the embeddings of tiles; None keeps them in memory only.
    dtype
        How numbers are kept on disk. What was just made is read back, so that a click has the same
        answer today and tomorrow.
    most_bytes
        What is kept in memory; what was not used for longest goes first.
    closer
        Small objects get a closer look, if the model is one that does so: for clicks.
    """

    def __init__(
        self,
        job: VolumeJob,
        store: Path | None = None,
        *,
        dtype: str = "float16",
        most_bytes: int = MOST_BYTES,
        closer: bool = False,
    ) -> None:
        self.job = job
        self.grid = job.grid
        self.path = store
        self._dtype, self._closer = dtype, closer
        self._work = EmbedWork(job.image, job.intensity, job.model)
        self._store: TileStore | None = None
        self._kept: OrderedDict[Hashable, ImageEmbedding] = OrderedDict()
        self._most = most_bytes
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    @property
    def store(self) -> TileStore | None:
        """The store, made if it is not there; None without a folder."""
        if self.path is None:
            return None
        with self._opening:
            if self._store is None:
                self._store = open_embeddings(self.job, self.path, self._dtype)
            return self._store

    @property
    def plane_size(self) -> Size:
        """(height, width) of a plane."""
        return (self.grid.shape[2], self.grid.shape[3])

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        with self._lock:
            return self._held()

    def tile(self, tile: Tile, *, unwanted: Unwanted | None = None) -> "ImageEmbedding":
        """The embedding of a tile's read region.

        Parameters
        ----------
        tile
            Of the job's grid.
        unwanted
            Gives up once it says so.

        Raises
        ------
        Interrupted
            It was given up.
        ImageError, StoreError
            The pixels cannot be read, or the disk is full.
        """
        return self._get(tile.index, lambda: self._tile(tile, unwanted))

    def crop(self, plane: Plane, region: Region) -> "ImageEmbedding":
        """The embedding of any part of a plane; kept in memory only.

        A part that is larger than what the model sees is read at a lower resolution.
        """
        (rows, columns) = region
        key = (plane, rows.start, rows.stop, columns.start, columns.stop)
        return self._get(key, lambda: self._crop(plane, region))

    def has(self, tile: Tile) -> bool:
        """Whether a tile's embedding is there already."""
        if tile.index in self._kept:
            return True
        store = self.store
        return store is not None and store.is_done(tile.index)

    def done_on(self, plane: Plane) -> NDArray[np.bool_]:
        """(rows, columns): which tiles of a plane have been looked at."""
        rows, columns = self.grid.cells
        first = next(self.grid.on(plane)).index
        store = self.store
        done = np.zeros(rows * columns, bool)
        if store is not None:
            done |= store.done(slice(first, first + rows * columns))
        with self._lock:
            here = [key - first for key in self._kept if isinstance(key, int)]
        done[[n for n in here if 0 <= n < rows * columns]] = True
        return done.reshape(rows, columns)

    def _tile(self, tile: Tile, unwanted: Unwanted | None) -> "ImageEmbedding":
        store = self.store
        there = store is not None and store.is_done(tile.index)
        part = None if there and not self._closer else self.job.image.read(tile.plane, tile.read)
        if part is not None and not there:
            with _giving_up(unwanted):
                made = self._work.embed(part)
            if store is None:
                return self._shown(made, part)
            store.write(tile.index, embedding_arrays(made))
        assert store is not None
        device = getattr(getattr(self.job.model.load(), "runtime", None), "device", "cpu")
        return self._shown(read_embedding(store, tile.index, device=device), part)

    def _shown(self, embedding: "ImageEmbedding", part: NDArray[Any] | None) -> "ImageEmbedding":
        return self._work.shown(embedding, part) if self._closer and part is not None else embedding

    def _crop(self, plane: Plane, region: Region) -> "ImageEmbedding":
        size = (region[0].stop - region[0].start, region[1].stop - region[1].start)
        seen = max(self.grid.read_size)
        step = 1
        while max(size) // (2 * step) >= seen:
            step *= 2
        part = read_reduced(self.job.image, plane, region, step)
        embedding = self._work.embed(part)
        return as_size(self._shown(embedding, part if step == 1 else None), size)

    def _get(self, key: Hashable, make: "Callable[[], ImageEmbedding]") -> "ImageEmbedding":
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    return self._kept[key]
            made = make()
            with self._lock:
                self._keep(key, made)
                self._making.pop(key, None)
            return made

    def _keep(self, key: Hashable, made: "ImageEmbedding") -> None:
        self._kept[key] = made
        while len(self._kept) > 1 and self._held() > self._most:
            self._kept.popitem(last=False)

    def _held(self) -> int:
        return sum(embedding.nbytes for embedding in self._kept.values())


def as_size(embedding: "ImageEmbedding", size: Size) -> "ImageEmbedding":
    """The same embedding for prompts in pixels of another size than it was made of.

    Masks come out at that size; between the pixels it is only scale. At another size there is no
    closer look.
    """
    if embedding.frame.original == size:
        return embedding
    return replace(embedding, frame=replace(embedding.frame, original=size), picture=None)


def _giving_up(unwanted: Unwanted | None) -> AbstractContextManager[None]:
    if unwanted is None:
        return nullcontext()
    from napari_sam.core.interrupt import interruptible

    return interruptible(unwanted)
