"""What it costs to keep embeddings in fewer bits: masks that change, and bytes a voxel.

The command: ``python -m napari_sam.evaluation.embedding_dtypes PACK``. Each picture is a tile whose
embedding is written to a store and read again.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.core.predictor import load_predictor
from napari_sam.evaluation.cutting import cut, pack_parser, pictures
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.seam_clicks import KINDS, iou, prompt
from napari_sam.progress import finish
from napari_sam.volume.model import Given
from napari_sam.volume.pipelines import embed_volume
from napari_sam.volume.store import TileStore
from napari_sam.volume.work import read_embedding

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor

DTYPES = ("float16", "bfloat16", "float32")
OBJECTS = 25  # of a picture at most


@dataclass(frozen=True)
class Cost:
    """One picture in one kind of number.

    Attributes
    ----------
    dtype
        Of the store.
    ious
        Of each mask with the one of the embedding as it was made.
    pixels, raw, stored
        Of the picture; bytes of the embedding in float32, and on disk.
    """

    dtype: str
    ious: tuple[float, ...]
    pixels: int
    raw: int
    stored: int


def costs(predictor: "Predictor", sample: Sample, dtypes: Sequence[str] = DTYPES) -> Iterator[Cost]:
    """Masks of clicks and boxes from embeddings that were kept in each kind of number."""
    fresh = predictor.encode(sample.picture, intensity="as_is")
    labels = [n for n in np.unique(sample.labels).tolist() if n > 0][:OBJECTS]
    asked = [(prompt(sample.labels == n, kind), kind == "click") for n in labels for kind in KINDS]
    reference = [predictor.decode(fresh, p, multimask=m).mask(0) for p, m in asked]
    job = cut(sample, Given(predictor, predictor.spec.name), side=max(sample.labels.shape), halo=0)
    raw = fresh.features.numel() + (0 if fresh.skip is None else fresh.skip.numel())
    for dtype in dtypes:
        with tempfile.TemporaryDirectory() as folder:
            store = finish(embed_volume(job, Path(folder) / "tiles", dtype=dtype))
            kept = read_embedding(store, 0, device=predictor.runtime.device)
            stored = chunk_bytes(store)
        masks = [predictor.decode(kept, p, multimask=m).mask(0) for p, m in asked]
        ious = tuple(iou(a, b) for a, b in zip(masks, reference, strict=True))
        yield Cost(dtype, ious, sample.labels.size, 4 * raw, stored)


def chunk_bytes(store: TileStore) -> int:
    """Bytes of the chunks alone."""
    folders = [store.path / spec.name / "c" for spec in store.manifest.arrays]
    files = [f for folder in folders for f in folder.parent.rglob("c*") if f.is_file()]
    return sum(file.stat().st_size for file in files)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each kind of number."""
    parser = pack_parser("embedding_dtypes")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    datasets = tuple(options.dataset)
    found: list[Cost] = []
    for sample in pictures(
        options.pack, predictor.spec.image_size, datasets=datasets, most=options.most
    ):
        found += costs(predictor, sample)
    say("| kept as | masks | mean IoU | least | bytes a pixel | float32 in memory over it |")
    say("|---|---|---|---|---|---|")
    for dtype in DTYPES:
        of_dtype = [one for one in found if one.dtype == dtype]
        ious = [value for one in of_dtype for value in one.ious]
        stored, raw = (sum(getattr(one, name) for one in of_dtype) for name in ("stored", "raw"))
        pixels = sum(one.pixels for one in of_dtype)
        say(
            f"| {dtype} | {len(ious)} | {np.mean(ious):.5f} | {min(ious):.4f}"
            f" | {stored / pixels:.2f} | {raw / stored:.2f} |"
        )


if __name__ == "__main__":
    main()
