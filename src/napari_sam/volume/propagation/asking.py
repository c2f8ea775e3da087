"""Asking the model about many objects on one plane at once, unless the answer is known.

Knows looks, prompts and the memory; which objects are carried on is not decided here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from napari_sam.core.prompts import Prompts
from napari_sam.volume.crops import Extent, central_tile, crop_around, is_cut
from napari_sam.volume.propagation.carry import MOST_POINTS, Hint
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.memory import Remembers
from napari_sam.volume.propagation.shapes import union
from napari_sam.volume.propagation.stack import Look, Stack

if TYPE_CHECKING:
    from napari_sam.core.frame import Frame

__all__ = ["Asker"]

AT_ONCE = 64  # objects
# A closer look would encode a crop for each small object on each plane; so an object costs no more
# than its share of the decoder. Prompts on key planes do get one.
NO_CLOSER_LOOK = float("-inf")


class Asker:
    """Asks a stack's model, and counts.

    Attributes
    ----------
    asked, remembered
        Masks that the model made, and masks that were known.
    """

    def __init__(self, stack: Stack, memory: Remembers) -> None:
        self.stack, self.memory = stack, memory
        self.asked = self.remembered = 0

    def claims(self, name: str, plane: int, hints: Sequence[Hint], step: int) -> dict[int, Claim]:
        """What the model claims for each object on a plane.

        Parameters
        ----------
        name, plane
            The pass and the plane, for the memory.
        hints
            The objects.
        step
            To the next plane, +1 or -1: its embedding is made meanwhile.
        """
        known = self.memory.read(name, plane)
        looks = {hint.id: self._look(plane, hint) for hint in hints}
        digests = {hint.id: _digest(hint, looks[hint.id]) for hint in hints}
        found = {
            one: known[one][1]
            for one, digest in digests.items()
            if one in known and known[one][0] == digest
        }
        self.remembered += len(found)
        missing = [hint for hint in hints if hint.id not in found]
        if missing:
            found |= self._decode(plane, missing, looks, step)
            self.asked += len(missing)
            self.memory.write(name, plane, {one: (digests[one], found[one]) for one in digests})
        return found

    def _decode(
        self, plane: int, hints: Sequence[Hint], looks: dict[int, Look], step: int
    ) -> dict[int, Claim]:
        """Each object in its look; those that its edge cuts once more, in a crop around them."""
        found = self._answers(plane, hints, looks)
        self.stack.prefetch(plane + step, [looks[hint.id] for hint in hints])
        cut = {hint.id: self._wider(hint, found[hint.id]) for hint in hints}
        wider = {one: look for one, look in cut.items() if look is not None}
        again = [hint for hint in hints if hint.id in wider]
        return found | self._answers(plane, again, wider) if again else found

    def _answers(
        self, plane: int, hints: Sequence[Hint], looks: Mapping[int, Look]
    ) -> dict[int, Claim]:
        """What the model says, those of one look together."""
        predictor = self.stack.embedder.job.model.load()
        places: dict[tuple[Any, ...], list[Hint]] = defaultdict(list)
        for hint in hints:
            look = looks[hint.id]
            places[look.cell, *look.corner, *look.size].append(hint)
        found: dict[int, Claim] = {}
        for some in places.values():
            look = looks[some[0].id]
            embedding = self.stack.embedding(plane, look)
            for start in range(0, len(some), AT_ONCE):
                batch = some[start : start + AT_ONCE]
                prediction = predictor.decode(
                    embedding, _prompts(batch, look, embedding.frame), multimask=False,
                    least_score=NO_CLOSER_LOOK,
                )  # fmt: skip
                for i, hint in enumerate(batch):
                    low_res, score = prediction.low_res_logits[i, 0], prediction.scores[i, 0]
                    found[hint.id] = Claim.keep(look, embedding.frame, low_res, float(score))
        return found

    def _wider(self, hint: Hint, claim: Claim) -> Look | None:
        """Where to look again for an object that is cut; None where nothing more would be seen."""
        mask, region = claim.mask()
        if not mask.size or not is_cut(region, claim.look.region, self.stack.size):
            return None
        ends = union(region, hint.expected.region)
        extent = Extent(ends[0].start, ends[1].start, ends[0].stop - 1, ends[1].stop - 1)
        embedder = self.stack.embedder
        crop = crop_around(extent, embedder.grid.read_size, embedder.plane_size)
        return None if crop == claim.look.region else Look(crop)

    def _look(self, plane: int, hint: Hint) -> Look:
        """The tile with the object in its middle, or a crop around it."""
        embedder = self.stack.embedder
        tile = central_tile(embedder.grid, self.stack.plane(plane), hint.extent)
        if tile is not None:
            return Look(tile.read, tile.cell)
        return Look(crop_around(hint.extent, embedder.grid.read_size, embedder.plane_size))


def _prompts(hints: Sequence[Hint], look: Look, frame: "Frame") -> Prompts:
    """Of one look, in its pixels; missing points are padding."""
    corner = np.array(look.corner, float)
    given: dict[str, Any] = {}
    if hints[0].box is not None:
        given["boxes"] = [np.array(hint.box) - np.tile(corner, 2) for hint in hints]
    if hints[0].points is not None:
        points = np.zeros((len(hints), MOST_POINTS, 2))
        labels = np.full((len(hints), MOST_POINTS), -1)
        for i, hint in enumerate(hints):
            assert hint.points is not None
            points[i, : len(hint.points)] = hint.points - corner
            labels[i, : len(hint.points)] = 1
        given |= {"points": points, "point_labels": labels}
    if hints[0].masked:
        given["mask_logits"] = np.stack([hint.mask_logits(look, frame) for hint in hints])
    return Prompts(**given)


def _digest(hint: Hint, look: Look) -> str:
    """What is asked, in few letters."""
    digest = xxhash.xxh3_128()
    places = (*look.corner, *look.size, hint.masked, *hint.expected.region)
    digest.update(repr((places, look.cell, hint.box)).encode())
    if hint.points is not None:
        digest.update(np.ascontiguousarray(hint.points).data)
    if hint.masked:
        if hint.claim is not None:
            digest.update(repr((hint.claim.look.region, hint.claim.cells)).encode())
            digest.update(np.ascontiguousarray(hint.claim.logits).data)
        else:
            digest.update(np.packbits(hint.expected.mask).data)
    return digest.hexdigest()
