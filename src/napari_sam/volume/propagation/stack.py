"""Stack: the planes of an image along any axis, and their embeddings a plane ahead of the front.

Knows images, tiles and the embedder; no objects. Propagation always runs along ``z``: of another
axis only the letters are changed, so that no pixel is moved and files are read as they lie.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_sam.core.interrupt import Interrupted
from napari_sam.core.regions import Region, Size
from napari_sam.errors import ImageError
from napari_sam.volume.embedder import Embedder
from napari_sam.volume.image import ImageRef, Plane
from napari_sam.volume.model import Given, ModelChoice, PredictorSource
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation.params import Axis
from napari_sam.volume.tiles import Tile, usual_tiles

if TYPE_CHECKING:
    from napari_sam.core.predictor import ImageEmbedding

__all__ = ["Look", "Stack", "open_embedder", "turned"]


def turned(image: ImageRef, along: Axis) -> ImageRef:
    """The same image with another axis in the place of z, and z in the place of that.

    Along ``y`` planes have rows along z; along ``x``, columns along z.

    Raises
    ------
    ImageError
        The image has no such axis.
    """
    if along not in image.axes:
        raise ImageError(f"the image has no axis {along} to propagate along: {image.describe()}.")
    swap: dict[str, str] = {along: "z", "z": along}
    return replace(image, axes="".join(swap.get(axis, axis) for axis in image.axes))


def open_embedder(
    image: ImageRef, model: Any, intensity: Any, channels: tuple[int, ...] | None,
    store: str | Path | None,
) -> Embedder:  # fmt: skip
    """What makes the embeddings of an image's planes.

    Parameters
    ----------
    image
        Turned.
    model
        A predictor, a source of one, or None for the bundled model.
    intensity, channels
        A :class:`~napari_sam.volume.intensity.VolumeIntensity`, or what one is measured from.
    store
        Folder of a store of embeddings, used and added to; None keeps them in memory.
    """
    from napari_sam.volume.intensity import VolumeIntensity
    from napari_sam.volume.manifest import Manifest
    from napari_sam.volume.store import read_manifest

    source: PredictorSource = ModelChoice() if model is None else model
    if hasattr(model, "decode"):
        source = Given(model, getattr(getattr(model, "spec", None), "name", "given"))
    if not isinstance(intensity, VolumeIntensity):
        intensity = VolumeIntensity.measure(image, intensity, channels=channels)
    side, halo = _cut(image, source)
    dtype = "float16"
    stored: Manifest | None = None if store is None else read_manifest(Path(store))
    if stored is not None:
        side, halo = stored.grid.side, stored.grid.halo
        dtype = stored.params.get("dtype", dtype)
    job = VolumeJob(image, intensity, source, side, halo)
    return Embedder(job, None if store is None else Path(store), dtype=dtype)


def _cut(image: ImageRef, source: PredictorSource) -> tuple[int, int]:
    """Side and halo of tiles that are as large as what the model sees."""
    spec = getattr(source.load(), "spec", None)
    return (max(image.size), 0) if spec is None else usual_tiles(spec.image_size)


@dataclass(frozen=True)
class Look:
    """A part of planes that the model looks at: a cell of the grid, or any region.

    The same look on the next plane is the same part of it.
    """

    region: Region
    cell: tuple[int, int] | None = None

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) at which it begins."""
        return (self.region[0].start, self.region[1].start)

    @property
    def size(self) -> Size:
        """(rows, columns)."""
        return (
            self.region[0].stop - self.region[0].start,
            self.region[1].stop - self.region[1].start,
        )


class Stack:
    """Planes along z at one point of the other axis (t), and their embeddings.

    Parameters
    ----------
    embedder
        Of the turned image.
    at
        The point on the axis that is not propagated along.

    Raises
    ------
    ImageError
        There is no such point.
    """

    def __init__(self, embedder: Embedder, at: int = 0) -> None:
        self.embedder, self.at = embedder, at
        image = embedder.job.image
        if at not in range(image.times):
            raise ImageError(
                f"{at} was asked for of the other axis, which has 0 to {image.times - 1}."
            )
        self._ahead: ThreadPoolExecutor | None = None
        self._running: list[Future[Any]] = []
        self._closing = Event()

    @property
    def planes(self) -> int:
        """How many there are."""
        return self.embedder.job.image.depth

    @property
    def size(self) -> Size:
        """(rows, columns) of a plane."""
        return self.embedder.plane_size

    def plane(self, number: int) -> Plane:
        """Its place in the volume."""
        return (self.at, number)

    def embedding(self, number: int, look: Look) -> "ImageEmbedding":
        """Of a part of a plane: from memory, from the store, or made."""
        tile = self._tile(number, look)
        if tile is None:
            return self.embedder.crop(self.plane(number), look.region)
        return self.embedder.tile(tile)

    def prefetch(self, number: int, looks: Iterable[Look]) -> None:
        """Have the embeddings of a plane made beside what is done now, if there is that plane."""
        if number not in range(self.planes):
            return
        if self._ahead is None:
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="propagate-ahead")
        self._running = [one for one in self._running if not one.done()]
        apart = {(look.cell, look.corner, look.size): look for look in looks}
        for look in apart.values():
            self._running.append(self._ahead.submit(self._fetch, number, look))

    def close(self) -> None:
        """Give up what is made ahead."""
        self._closing.set()
        if self._ahead is not None:
            self._ahead.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, number: int, look: Look) -> None:
        """A fault shows again, and is told, where the embedding is wanted."""
        tile = self._tile(number, look)
        try:
            if tile is None:
                self.embedder.crop(self.plane(number), look.region)
            else:
                self.embedder.tile(tile, unwanted=self._closing.is_set)
        except (Interrupted, Exception):
            return

    def _tile(self, number: int, look: Look) -> Tile | None:
        return None if look.cell is None else self.embedder.grid.at(self.plane(number), look.cell)
