"""TileStore: results of tiles on disk, one zarr chunk each, so that a stopped job can go on.

Order on disk: the manifest, then for each tile its chunks, and its done flag last. A flag is the
hash of what was written, so it can be checked; a chunk without a flag counts for nothing (a chunk
of zeros is not even written by zarr). Results of a tile are always the same bytes and files appear
whole, so several processes may work on one store without harm. Knows no model.
"""

import errno
import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from platform import node
from typing import Any

import numpy as np
import xxhash
from filelock import FileLock
from numpy.typing import NDArray

from napari_sam.errors import StoreError, StoreIncompleteError
from napari_sam.progress import Progress
from napari_sam.volume.manifest import ArraySpec, Manifest

__all__ = ["TileStore", "reopen"]

ATTRIBUTE = "napari_sam"
FLAGS = "done"
FAILED = "failed"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TileStore:
    """A folder of tiles. Made by :meth:`create` or :meth:`open`.

    Attributes
    ----------
    path
        The folder.
    manifest
        What the tiles were made from.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        import zarr

        self.path = path
        self.manifest = manifest
        names = [FLAGS, *(array.name for array in manifest.arrays)]
        self._zarrs: dict[str, Any] = {n: zarr.open_array(path / n, mode="r+") for n in names}

    @classmethod
    def create(cls, path: str | Path, manifest: Manifest) -> "TileStore":
        """Make a store, or open the one that is there if it was made from the same.

        Raises
        ------
        StoreMismatchError
            The store that is there was made from something else: says what.
        StoreError
            Something else is there, or the disk is full.
        """
        path = Path(path)
        with plain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(path.name + ".lock")):
                stored = read_manifest(path)
                if stored is not None:
                    stored.check(manifest, str(path))
                _complete(path, stored or manifest)
        return cls(path, stored or manifest)

    @classmethod
    def open(cls, path: str | Path) -> "TileStore":
        """Open a store that is there.

        Raises
        ------
        StoreError
            There is none.
        """
        path = Path(path)
        manifest = read_manifest(path)
        if manifest is None:
            raise StoreError(f"there is no store of tiles at {path}.")
        return cls.create(path, manifest)

    def __len__(self) -> int:
        return len(self.manifest.grid)

    def write(self, index: int, result: Mapping[str, NDArray[Any]]) -> None:
        """Keep a tile's result; it counts as done once this has returned.

        Raises
        ------
        StoreError
            The disk is full: what is there stays good.
        """
        digest = xxhash.xxh3_64()
        with plain_errors(self.path):
            for spec in self.manifest.arrays:
                values = _pack(result[spec.name], spec)
                digest.update(values.data)
                self._zarrs[spec.name][index] = values
            self._zarrs[FLAGS][index] = _flag(digest)
            self._failure(index).unlink(missing_ok=True)

    def read(self, index: int) -> dict[str, NDArray[Any]]:
        """A tile's result, in the number formats of the manifest (bfloat16 as float32).

        Raises
        ------
        StoreIncompleteError
            The tile is not done.
        """
        if not self.is_done(index):
            raise StoreIncompleteError(
                f"tile {self.manifest.grid.tile(index).key} is missing in {self.path}: run the same"
                " command again to make it."
            )
        return {
            spec.name: _unpack(np.asarray(self._zarrs[spec.name][index]), spec)
            for spec in self.manifest.arrays
        }

    def is_done(self, index: int) -> bool:
        """Whether a tile is there, all of it."""
        return bool(self._zarrs[FLAGS][index])

    def done(self, tiles: slice = slice(None)) -> NDArray[np.bool_]:
        """For each tile, or each of some, whether it is there."""
        first, end, _ = tiles.indices(len(self))
        done = np.zeros(max(0, end - first), bool)
        # Of a large volume most flags have no file yet; zarr would look for each of them.
        for entry in os.scandir(self.path / FLAGS):
            prefix, _, number = entry.name.partition(".")
            if prefix == "c" and number.isdigit() and first <= int(number) < end:
                done[int(number) - first] = any(Path(entry.path).read_bytes())
        return done

    def require_complete(self) -> None:
        """Refuse to go on without all tiles.

        Raises
        ------
        StoreIncompleteError
            Says how many are missing.
        """
        missing = int(np.count_nonzero(~self.done()))
        if missing:
            reasons = list(self.failures().values())
            first = f" The first failure: {reasons[0]}." if reasons else ""
            raise StoreIncompleteError(
                f"{missing} of {len(self)} tiles are missing in {self.path}; run the same command"
                f" again to make them.{first}"
            )

    def fail(self, index: int, reason: str) -> None:
        """Remember why a tile could not be made; it stays missing."""
        with plain_errors(self.path):
            self._failure(index).parent.mkdir(exist_ok=True)
            self._failure(index).write_text(reason, encoding="utf-8")

    def failures(self) -> dict[int, str]:
        """Reasons by the number of the tile."""
        files = sorted((self.path / FAILED).glob("*.txt"), key=lambda file: int(file.stem))
        return {int(file.stem): file.read_text(encoding="utf-8") for file in files}

    def verify(self, *, repair: bool = False) -> Generator[Progress, None, dict[int, str]]:
        """Compare the chunks of all done tiles with their flags: a job.

        Parameters
        ----------
        repair
            Take the flags of damaged tiles away, so that the next run makes them again.

        Returns
        -------
        dict
            Number of each damaged tile and what is wrong with it.
        """
        damaged: dict[int, str] = {}
        numbers = np.flatnonzero(self.done()).tolist()
        for count, index in enumerate(numbers):
            yield Progress(count, len(numbers), "checking tiles")
            reason = self._damage(index)
            if reason is not None:
                damaged[index] = reason
                if repair:
                    self._zarrs[FLAGS][index] = 0
        yield Progress(len(numbers), len(numbers), "checking tiles")
        return damaged

    def bytes_on_disk(self) -> int:
        """Size of all chunks."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def _damage(self, index: int) -> str | None:
        digest = xxhash.xxh3_64()
        try:
            for spec in self.manifest.arrays:
                digest.update(np.ascontiguousarray(self._zarrs[spec.name][index]).data)
        except Exception as error:  # each codec has errors of its own
            return f"a chunk cannot be read: {error or type(error).__name__}"
        same = _flag(digest) == int(self._zarrs[FLAGS][index])
        return None if same else "a chunk is missing or is not what was written"

    def _failure(self, index: int) -> Path:
        return self.path / FAILED / f"{index}.txt"


def reopen(path: str) -> TileStore:
    """Open a store, once in a process; another one that took its place since is opened anew.

    Raises
    ------
    StoreError
        This machine does not see it.
    """
    try:
        stamp = (Path(path) / "zarr.json").stat().st_mtime_ns
    except OSError as error:
        raise StoreError(
            f"{node()} does not see {path}: image and tiles must lie where all machines see"
            " them, under the same path."
        ) from error
    return _opened(path, stamp)


@lru_cache(maxsize=4)
def _opened(path: str, stamp: int) -> TileStore:
    return TileStore.open(path)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest of a store; None where there is nothing at all.

    Raises
    ------
    StoreError
        There is something else.
    """
    # A process that was killed may leave a half-written manifest under another name.
    if not path.exists() or all(file.suffix == ".partial" for file in path.iterdir()):
        return None
    try:
        text = (path / "zarr.json").read_text(encoding="utf-8")
        stored = json.loads(text)["attributes"][ATTRIBUTE]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is there, but is no store of tiles; choose another.") from error
    return Manifest.from_dict(stored)


def _complete(path: Path, manifest: Manifest) -> None:
    """Make what is not there yet of a store: the manifest first."""
    import zarr
    from zarr.codecs import BloscCodec

    if not (path / "zarr.json").exists():
        zarr.create_group(path, zarr_format=3, attributes={ATTRIBUTE: manifest.as_dict()})
    count = len(manifest.grid)
    flat: Any = {"name": "default", "separator": "."}  # all chunks in one folder: fewer files
    for spec in manifest.arrays:
        if not (path / spec.name / "zarr.json").exists():
            dtype = _stored_dtype(spec)
            zarr.create_array(
                path / spec.name, shape=(count, *spec.shape), chunks=(1, *spec.shape), dtype=dtype,
                compressors=BloscCodec(cname="zstd", clevel=3, typesize=dtype.itemsize,
                                       shuffle="bitshuffle"),
                chunk_key_encoding=flat, fill_value=0,
            )  # fmt: skip
    if not (path / FLAGS / "zarr.json").exists():
        zarr.create_array(
            path / FLAGS, shape=(count,), chunks=(1,), dtype="uint64", compressors=None,
            chunk_key_encoding=flat, fill_value=0,
        )  # fmt: skip


def _flag(digest: "xxhash.xxh3_64") -> int:
    return max(1, digest.intdigest())  # 0 means missing


def _stored_dtype(spec: ArraySpec) -> np.dtype[Any]:
    return np.dtype("uint16" if spec.dtype == "bfloat16" else spec.dtype)


def _pack(values: NDArray[Any], spec: ArraySpec) -> NDArray[Any]:
    if values.shape != spec.shape:
        raise StoreError(f"{spec.name} of a tile has shape {values.shape}, not {spec.shape}.")
    if spec.dtype != "bfloat16":
        return np.ascontiguousarray(values, spec.dtype)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    bits += 0x7FFF + (bits >> 16 & 1)  # round to the nearest, halves to even
    return (bits >> 16).astype(np.uint16)


def _unpack(values: NDArray[Any], spec: ArraySpec) -> NDArray[Any]:
    if spec.dtype != "bfloat16":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Say a full disk in plain words; other errors stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise StoreError(
            f"the disk is full: {path} cannot be written ({error.strerror}). What is done is kept;"
            " make space and run the same command again."
        ) from error
