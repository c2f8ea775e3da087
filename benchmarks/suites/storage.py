"""Bytes of one embedding on disk: as it is, as float16, and as float16 compressed."""

from collections.abc import Iterator

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from benchmarks import agreement, scenes
from benchmarks.contenders import OFFICIAL
from benchmarks.lineup import build_all
from benchmarks.settings import Settings
from benchmarks.timing import Block, Row

Array = NDArray[np.float32]
KINDS = {"float32": ("float32", None), "float16": ("float16", None), "float16 zstd": ("float16", 1)}


def run(settings: Settings) -> Iterator[Block]:
    """One block for each model."""
    for model in settings.models:
        wanted = [name for name in ("ours exact", OFFICIAL) if name in settings.contenders]
        ready, skipped = build_all(wanted, model, "encode", settings.folder)
        side = 128 if settings.quick else 1024
        rows = [
            _row(name, kind, contender.encode(scenes.picture((side, side))))
            for name, contender in ready.items()
            for kind in KINDS
        ]
        rows += [Row(name, skipped=reason) for name, reason in skipped.items()]
        yield Block(
            "storage",
            f"{model} {side} x {side}",
            "itself in float32",
            tuple(rows),
            note="One zarr chunk. An embedding of random weights: a trained one may pack otherwise."
            " The bundled model's finer features are not counted.",
        )


def _row(name: str, kind: str, embedding: Array) -> Row:
    dtype, level = KINDS[kind]
    stored = embedding.astype(dtype)
    extra: dict[str, float | str] = {"bytes": f"{_stored_bytes(stored, level):,}"}
    return Row(
        f"{name} {kind}",
        agreement=agreement.of_embeddings(embedding, stored.astype(np.float32)),
        extra=extra,
    )


def _stored_bytes(array: NDArray[np.floating], level: int | None) -> int:
    """Size of the chunk that zarr writes."""
    store = zarr.storage.MemoryStore()
    codec = None if level is None else ZstdCodec(level=level)
    target = zarr.create_array(
        store, shape=array.shape, chunks=array.shape, dtype=array.dtype, compressors=codec
    )
    target[:] = array
    return int(target.nbytes_stored())
