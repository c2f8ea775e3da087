"""Work: the objects of a tile that points and boxes name. Knows tiles and prompts, no CSV.

An object belongs to the tile in whose write region its middle lies, so to one tile alone, and all
that is said of it must lie within what the tile reads.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from napari_sam.core.object_prompts import ObjectPrompt, decode_objects
from napari_sam.errors import PromptError, StoreMismatchError
from napari_sam.volume.prompt_table import PromptTable, VolumePrompt, read_prompts
from napari_sam.volume.tiles import Tile, TileGrid
from napari_sam.volume.work import EmbedWork, Result, kept_embedding

__all__ = ["PromptWork", "share_out"]


@dataclass(frozen=True)
class PromptWork:
    """One mask for each object of a table whose middle lies in the tile.

    Attributes
    ----------
    embed
        Makes the embedding of a tile.
    grid
        How the volume is cut.
    table, digest
        The CSV file and the hash of what it held when the job began.
    min_area
        Objects of fewer pixels are left out.
    embeddings
        Folder of a store of embeddings to read from and to add to; None keeps none.
    """

    embed: EmbedWork
    grid: TileGrid
    table: str
    digest: str
    min_area: int = 0
    embeddings: str | None = None

    def __call__(self, tile: Tile) -> Result:
        """``labels`` (y, x) uint32 of the read region; where objects overlap the surer one."""
        wanted = _shared_out(self.table, self.digest, self.grid).get(tile.index, ())
        size = self.grid.read_size
        if not wanted:
            return {"labels": np.zeros(size, np.uint32)}
        part = self.embed.image.read(tile.plane, tile.read)
        if self.embeddings is None:
            embedding = self.embed.embed(part)
        else:
            embedding = kept_embedding(self.embed, self.embeddings, tile)
        embedding = self.embed.shown(embedding, part)
        corner = (tile.read[0].start, tile.read[1].start)
        moved = [_moved(one.prompt, corner) for one in wanted]
        labels = decode_objects(self.embed.model.load(), embedding, moved).to_labels()
        small = np.bincount(labels.reshape(-1)) < self.min_area
        labels[small[labels]] = 0
        return {"labels": labels}


def share_out(table: PromptTable, grid: TileGrid) -> Mapping[int, tuple[VolumePrompt, ...]]:
    """The objects of each tile, by its number.

    Raises
    ------
    PromptError
        What is said of an object is spread wider than a tile: names the line.
    """
    found = defaultdict(list)
    for one in table.objects:
        tile = grid.holding(one.plane, _middle(one.prompt))
        if not all(_inside(tile, y, x) for y, x in _corners(one.prompt, grid)):
            raise PromptError(
                f"{table.path}, line {one.line}: this object reaches beyond its tile, rows"
                f" {tile.read[0].start} to {tile.read[0].stop}, columns {tile.read[1].start} to"
                f" {tile.read[1].stop}. Take a larger --halo or --tile."
            )
        found[tile.index].append(one)
    return {index: tuple(objects) for index, objects in found.items()}


@lru_cache(maxsize=2)
def _shared_out(path: str, digest: str, grid: TileGrid) -> Mapping[int, tuple[VolumePrompt, ...]]:
    table = read_prompts(path)
    if table.digest != digest:
        raise StoreMismatchError(
            f"{path} has changed since the job began: run the command again under another --name."
        )
    return share_out(table, grid)


def _middle(prompt: ObjectPrompt) -> tuple[float, float]:
    if prompt.box is not None:
        y0, x0, y1, x1 = prompt.box
        return ((y0 + y1) / 2, (x0 + x1) / 2)
    y, x = np.mean(prompt.positive, axis=0).tolist()
    return (y, x)


def _corners(prompt: ObjectPrompt, grid: TileGrid) -> list[tuple[float, float]]:
    """The extremes of what is said; of a box only what lies in the image."""
    points = [*prompt.positive, *prompt.negative]
    if prompt.box is None:
        return points
    y0, x0, y1, x1 = prompt.box
    height, width = grid.shape[2:]
    return [*points, (max(y0, 0), max(x0, 0)), (min(y1, height - 1), min(x1, width - 1))]


def _inside(tile: Tile, y: float, x: float) -> bool:
    pairs = zip(tile.read, (y, x), strict=True)
    return all(bool(side.start <= at + 0.5 <= side.stop) for side, at in pairs)


def _moved(prompt: ObjectPrompt, corner: tuple[int, int]) -> ObjectPrompt:
    """In pixels of the tile's read region."""
    dy, dx = corner
    box = prompt.box
    return replace(
        prompt,
        positive=tuple((y - dy, x - dx) for y, x in prompt.positive),
        negative=tuple((y - dy, x - dx) for y, x in prompt.negative),
        box=box and (box[0] - dy, box[1] - dx, box[2] - dy, box[3] - dx),
    )
