"""Work: a picklable value that makes the result of one tile. Knows image and model, no store order.

The same work runs in this process or on another machine; its result depends on the tile alone.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.intensity import Intensity
from napari_sam.core.params import AutomaticParams
from napari_sam.errors import StoreError
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.manifest import ArraySpec
from napari_sam.volume.model import PredictorSource
from napari_sam.volume.store import TileStore, reopen
from napari_sam.volume.tiles import Tile

if TYPE_CHECKING:
    import torch

    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import ImageEmbedding, MaskPrediction
    from napari_sam.core.prompts import Prompts

__all__ = ["EmbedWork", "SegmentWork", "Work", "kept_embedding", "read_embedding"]

Result = dict[str, NDArray[Any]]


class Work(Protocol):
    """Makes what a store keeps of a tile."""

    def __call__(self, tile: Tile) -> Result:
        """Arrays by name, as the manifest of the store has them."""
        ...


@dataclass(frozen=True)
class EmbedWork:
    """The image embedding of a tile's read region."""

    image: ImageRef
    intensity: VolumeIntensity
    model: PredictorSource

    def __call__(self, tile: Tile) -> Result:
        """``features`` (C, h, w) and, of the bundled model, ``skip``."""
        return embedding_arrays(self.embed(self.image.read(tile.plane, tile.read)))

    def embed(self, part: NDArray[Any]) -> "ImageEmbedding":
        """The embedding of pixels as the image has them."""
        embedding = self.model.load().encode(self.intensity.picture(part), intensity="as_is")
        # A store keeps no picture: see `shown`.
        return replace(embedding, picture=None)

    def shown(self, embedding: "ImageEmbedding", part: NDArray[Any]) -> "ImageEmbedding":
        """An embedding with its picture, if the model looks closer at small objects.

        One that was read from a store has none, and must answer as one that was just made.
        """
        give = getattr(self.model.load(), "with_picture", None)
        if give is None:
            return embedding
        shown: ImageEmbedding = give(embedding, self.intensity.picture(part))
        return shown

    def probe(self, size: tuple[int, int], dtype: str) -> tuple[tuple[ArraySpec, ...], Any]:
        """What the store must hold for tiles of a size: its arrays, and the frame."""
        shape = size if self.image.channels is None else (*size, self.image.channels)
        embedding = self.embed(np.zeros(shape, self.image.dtype))
        arrays = embedding_arrays(embedding)
        specs = tuple(ArraySpec(name, values.shape, dtype) for name, values in arrays.items())
        return specs, asdict(embedding.frame)


@dataclass(frozen=True)
class SegmentWork:
    """All objects of a tile's read region.

    Attributes
    ----------
    params
        Of the generator.
    min_area
        Objects of fewer pixels are left out.
    embeddings
        Folder of a store of embeddings to read from and to add to; None keeps none.
    """

    image: ImageRef
    intensity: VolumeIntensity
    model: PredictorSource
    params: AutomaticParams
    min_area: int = 0
    embeddings: str | None = None

    def __call__(self, tile: Tile) -> Result:
        """``labels`` (y, x) uint32 of the read region: the tile's own numbers, 0 is background."""
        from napari_sam.core.automatic import generate
        from napari_sam.core.masks import records_to_labels

        picture = self.intensity.picture(self.image.read(tile.plane, tile.read))
        size = (picture.shape[0], picture.shape[1])
        if picture.min() == picture.max():  # nothing to see: spares empty parts of large volumes
            return {"labels": np.zeros(size, np.uint32)}
        predictor: EncodesAndDecodes = self.model.load()
        if self.embeddings is not None:
            embed = EmbedWork(self.image, self.intensity, self.model)
            predictor = _Known(predictor, kept_embedding(embed, self.embeddings, tile))
        records = finish(generate(picture, predictor, self.params, intensity="as_is"))
        return {"labels": records_to_labels(records, size, least_area=self.min_area)}


def kept_embedding(work: EmbedWork, path: str, tile: Tile) -> "ImageEmbedding":
    """A tile's embedding as the store at ``path`` has it, which gets it if it has not.

    Also one that was just made is read again: else a resumed run would differ.
    """
    store = reopen(path)
    if not store.is_done(tile.index):
        store.write(tile.index, work(tile))
    device = getattr(getattr(work.model.load(), "runtime", None), "device", "cpu")
    return read_embedding(store, tile.index, device=device)


def read_embedding(
    store: TileStore, index: int, *, device: "torch.device | str" = "cpu"
) -> "ImageEmbedding":
    """A tile's embedding, in float32, ready to decode prompts in pixels of its read region.

    ``device`` is where the predictor computes.

    Raises
    ------
    StoreIncompleteError
        The tile is not there.
    StoreError
        The store holds something else.
    """
    import torch

    from napari_sam.core.frame import Frame
    from napari_sam.core.predictor import ImageEmbedding

    frame = store.manifest.frame
    if frame is None:
        raise StoreError(f"{store.path} holds {store.manifest.kind}, no embeddings.")
    arrays = store.read(index)
    tensors = {
        name: torch.from_numpy(values.astype(np.float32))[None].to(device)
        for name, values in arrays.items()
    }
    sizes = {name: tuple(value) for name, value in frame.items() if name != "mask_stride"}
    return ImageEmbedding(
        tensors["features"],
        tensors.get("skip"),
        Frame(**sizes, mask_stride=frame["mask_stride"]),
        store.manifest.model["name"],
    )


def embedding_arrays(embedding: "ImageEmbedding") -> Result:
    """What a store keeps of an embedding, in float32."""
    arrays = {"features": embedding.features[0].float().cpu().numpy()}
    if embedding.skip is not None:
        arrays["skip"] = embedding.skip[0].float().cpu().numpy()
    return arrays


@dataclass(frozen=True)
class _Known:
    """A predictor that has the embedding of the whole picture already."""

    predictor: "EncodesAndDecodes"
    embedding: "ImageEmbedding"

    def encode(self, image: ArrayLike, *, intensity: Intensity = "as_is") -> "ImageEmbedding":
        if np.shape(image)[:2] == self.embedding.frame.original:
            return self.embedding
        return self.predictor.encode(image, intensity=intensity)

    def decode(
        self,
        embedding: "ImageEmbedding",
        prompts: "Prompts",
        *,
        multimask: bool = True,
        least_score: float | None = None,
    ) -> "MaskPrediction":
        return self.predictor.decode(
            embedding, prompts, multimask=multimask, least_score=least_score
        )
