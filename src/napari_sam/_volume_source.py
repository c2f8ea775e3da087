"""An image layer as a volume of tiles: where its pixels are, how it is cut, where tiles lie.

Knows planes and images; knows no napari, no Qt, and asks no model.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_sam._predict import Load, ModelChoice, Plane, PredictorPool
from napari_sam._workplace import LARGE_SIDE
from napari_sam.core.intensity import Intensity
from napari_sam.core.registry import get_spec

if TYPE_CHECKING:
    from napari_sam.volume.image import ImageRef

When = Literal["auto", "always", "never"]
Numbers = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True, eq=False)
class VolumeSource:
    """Where the pixels of an image layer are.

    Attributes
    ----------
    key
        Differs for every layer and content.
    levels
        Its arrays, the finest first.
    axes
        A letter of ``tczyx`` for each axis of these.
    path, numbers
        The OME-Zarr image that the arrays were opened from, and which of its levels they are; None
        where the arrays are all that is known.
    channel
        Which channel of the file the layer shows, where it shows one of several.
    folder
        For tiles, beside the image.
    in_file
        Whether the image has a file; what the model has seen of others is not kept on disk.
    """

    key: Hashable
    levels: tuple[Any, ...]
    axes: str
    path: str | None
    numbers: tuple[int, ...]
    channel: int | None
    folder: Path
    in_file: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a plane at the finest level."""
        return self.size_at(0)

    def size_at(self, level: int) -> tuple[int, int]:
        """(height, width) of a plane at a level."""
        shape = self.levels[level].shape
        return (int(shape[self.axes.index("y")]), int(shape[self.axes.index("x")]))

    def zoom(self, level: int) -> tuple[float, float]:
        """Pixels of the finest level for each pixel of a level."""
        fine, coarse = self.size, self.size_at(level)
        return (fine[0] / coarse[0], fine[1] / coarse[1])

    def ref(self, level: int) -> "ImageRef":
        """The image at a level, as jobs take it. May read a little of the file."""
        from napari_sam.volume.image import ImageRef

        if self.path is not None:
            return ImageRef.open(self.path, level=self.numbers[level])
        return ImageRef.open(self.levels[level], axes=self.axes)

    def at(self, plane: Plane) -> tuple[tuple[int, int], int | None] | None:
        """(t, z) and channel of a plane in view; None where other axes than y, x are shown."""
        if plane.axes != (self.axes.index("y"), self.axes.index("x")):
            return None
        where = dict(zip(self.axes, plane.index, strict=False))
        channel = where.get("c") if not plane.rgb else None
        place = (where.get("t", 0), where.get("z", 0))
        return place, self.channel if channel is None else channel


@dataclass(frozen=True)
class TileSettings:
    """What the tab Volume sets.

    Attributes
    ----------
    when
        Whether clicks work in tiles; "auto": in planes that are too large to be seen whole.
    level
        Resolution that the model sees: 0 is the finest.
    side, halo
        Of the tiles in pixels of that level; None: what suits the model.
    keep
        Embeddings stay on disk.
    ahead
        Neighbouring tiles and planes are looked at while nothing else is to do.
    dtype
        How embeddings are kept.
    """

    when: When = "auto"
    level: int = 0
    side: int | None = None
    halo: int | None = None
    keep: bool = True
    ahead: bool = True
    dtype: Numbers = "float16"

    def wanted(self, source: VolumeSource) -> bool:
        """Whether clicks on an image work in tiles."""
        return self.when == "always" or (self.when == "auto" and max(source.size) > LARGE_SIDE)

    def cut(self, model: str) -> tuple[int, int]:
        """(side, halo) for a model of the registry."""
        from napari_sam.volume.tiles import usual_tiles

        seen = get_spec(model).image_size
        if self.side is None:
            side, halo = usual_tiles(seen)
            return (side, halo) if self.halo is None else (max(1, seen - 2 * self.halo), self.halo)
        return self.side, self.side // 6 if self.halo is None else self.halo


@dataclass(frozen=True, eq=False)
class TileSetup:
    """All that decides what tiles are: it travels to the worker.

    Attributes
    ----------
    source, settings, model, intensity
        What, how it is cut, and with which model.
    channel
        Of an image with channels along a slider.
    """

    source: VolumeSource
    settings: TileSettings
    model: ModelChoice
    intensity: Intensity
    channel: int | None

    @property
    def key(self) -> Hashable:
        """The same for setups that have the same tiles."""
        settings = replace(self.settings, when="always", ahead=True)
        return (self.source.key, settings, self.model, self.intensity, self.channel)

    @property
    def zoom(self) -> tuple[float, float]:
        """Pixels of the finest level for each pixel of a tile."""
        return self.source.zoom(self.settings.level)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """The dock's model as a job takes it: loaded once for clicks and jobs."""

    choice: ModelChoice
    loader: Load

    def load(self) -> Any:
        """The predictor."""
        return self.loader(self.choice)

    def identity(self) -> dict[str, Any]:
        """What decides its results; the same as the command line says."""
        if not isinstance(self.loader, PredictorPool):  # a predictor that was given, in tests
            return {"name": self.choice.name, "precision": self.choice.precision}
        known = self.loader.weights(self.choice).removeprefix("sha256:")
        if not known:
            return self.choice.identity()
        choice = self.choice
        return {"name": choice.name, "weights_sha256": known, "precision": choice.precision}
