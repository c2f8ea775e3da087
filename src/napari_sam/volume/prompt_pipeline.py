"""The job that segments what a table of points and boxes names. Knows the order of things."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from napari_sam.progress import Progress
from napari_sam.volume.manifest import ArraySpec
from napari_sam.volume.pipelines import VolumeJob, open_embeddings
from napari_sam.volume.prompt_table import PromptTable
from napari_sam.volume.prompt_work import PromptWork, share_out
from napari_sam.volume.run import Runner, run
from napari_sam.volume.store import TileStore
from napari_sam.volume.work import EmbedWork

__all__ = ["segment_prompts"]


def segment_prompts(
    job: VolumeJob,
    store: str | Path,
    table: PromptTable,
    *,
    min_area: int = 0,
    embeddings: str | Path | None = None,
    dtype: str = "float16",
    runner: Runner = run,
) -> Generator[Progress, None, TileStore]:
    """One mask for each object of a table; as :func:`~napari_sam.volume.pipelines.segment_volume`.

    Tiles without a prompt are not looked at by the model.

    Raises
    ------
    PromptError
        An object lies outside the image, or reaches beyond its tile: names the line.
    StoreMismatchError, StoreIncompleteError, StoreError
        As :func:`~napari_sam.volume.pipelines.embed_volume`.
    """
    table.check(job.image)
    share_out(table, job.grid)
    settings = {
        "prompts": table.digest,
        "min_area": min_area,
        "embeddings": dtype if embeddings is not None else None,
    }
    labels = ArraySpec("labels", job.grid.read_size, "uint32")
    opened = TileStore.create(store, replace(job.manifest("labels", settings), arrays=(labels,)))
    if embeddings is not None:
        open_embeddings(job, Path(embeddings), dtype)
    where = None if embeddings is None else str(embeddings)
    embed = EmbedWork(job.image, job.intensity, job.model)
    work = PromptWork(embed, job.grid, table.path, table.digest, min_area, where)
    yield from runner(work, opened)
    opened.require_complete()
    return opened
