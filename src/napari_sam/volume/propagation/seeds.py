"""From key planes to keys: labels as they are, prompts as the model answers them.

Knows key planes, the stack and the memory.
"""

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from napari_sam.core.prompts import Prompts
from napari_sam.core.strokes import Sketch
from napari_sam.errors import PromptError
from napari_sam.progress import Progress, finish
from napari_sam.volume.clicks import Answer, solve
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.correction import anchored, corrected
from napari_sam.volume.propagation.key_plane import KeyPlane
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.memory import Remembers
from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.shapes import Shape
from napari_sam.volume.propagation.stack import Look, Stack

__all__ = ["find_keys"]

_KINDS = ("points", "point_labels", "boxes", "mask_logits")


def find_keys(
    stack: Stack, key_planes: Sequence[KeyPlane], params: PropagateParams, memory: Remembers
) -> Generator[Progress, None, tuple[Keys, int]]:
    """What is known on key planes; and how many masks were asked for. Yields after each plane.

    Raises
    ------
    PromptError
        There is no object, a plane is out of bounds, labels have another size, something is said
        twice, or the model finds nothing at prompts.
    """
    first, last = _check(stack, key_planes, params)
    drawn: dict[int, dict[int, Shape]] = defaultdict(dict)
    gone: dict[int, frozenset[int]] = defaultdict(frozenset)
    claims: dict[tuple[int, int], Claim] = {}
    asked = 0
    for number, key in enumerate(key_planes):
        yield Progress(number, len(key_planes), f"key plane {key.plane}")
        labelled = _shapes(key)
        found, count = _answered(stack, key, labelled, memory)
        asked += count
        shapes = {**labelled, **_corrected(key, labelled, found)}
        found = {one: claim for one, claim in found.items() if one not in labelled}
        shapes |= {one: Shape(*claim.mask()) for one, claim in found.items()}
        if twice := {*drawn[key.plane], *gone[key.plane]} & {*shapes, *key.absent}:
            raise PromptError(
                f"two key planes say something of object {min(twice)} on plane {key.plane}:"
                " put it into one."
            )
        drawn[key.plane] |= shapes
        gone[key.plane] |= key.absent
        claims |= {(key.plane, one): claim for one, claim in found.items()}
    return (
        Keys(
            {plane: shapes for plane, shapes in drawn.items() if shapes},
            {plane: ids for plane, ids in gone.items() if ids},
            claims,
            first,
            last,
        ),
        asked,
    )


def _check(
    stack: Stack, key_planes: Sequence[KeyPlane], params: PropagateParams
) -> tuple[int, int]:
    """First and last plane."""
    if not any(key.ids for key in key_planes):
        raise PromptError("no key plane has an object: give labels or prompts on at least one.")
    last = stack.planes - 1 if params.last_plane is None else params.last_plane
    first = params.first_plane or 0
    if last >= stack.planes:
        raise PromptError(f"last_plane is {last}; the stack has planes 0 to {stack.planes - 1}.")
    for key in key_planes:
        if key.plane not in range(first, last + 1):
            raise PromptError(f"key plane {key.plane} lies outside planes {first} to {last}.")
        if key.labels is not None and key.labels.shape != stack.size:
            raise PromptError(
                f"the labels of key plane {key.plane} have {key.labels.shape} rows and columns;"
                f" planes have {stack.size}."
            )
    return first, last


def _shapes(key: KeyPlane) -> dict[int, Shape]:
    """Of the labels: by bounding boxes, so that many objects cost no more than a few."""
    from scipy import ndimage

    if key.labels is None:
        return {}
    ids, compact = np.unique(key.labels, return_inverse=True)
    offset = 0 if ids[0] == 0 else 1
    compact = compact.reshape(key.labels.shape) + offset
    found = {}
    for number, region in enumerate(ndimage.find_objects(compact), start=1):
        if region is not None:
            found[int(ids[number - offset])] = Shape(compact[region] == number, region)
    return found


def _answered(
    stack: Stack, key: KeyPlane, labelled: Mapping[int, Shape], memory: Remembers
) -> tuple[dict[int, Claim], int]:
    """What the model makes of a key plane's prompts, those of a kind together."""
    if not key.prompts:
        return {}, 0
    known = memory.read("key", key.plane)
    digests = {one: _digest(prompts, labelled.get(one)) for one, prompts in key.prompts.items()}
    found = {
        one: known[one][1] for one, d in digests.items() if one in known and known[one][0] == d
    }
    groups: dict[Any, list[int]] = defaultdict(list)
    for one, prompts in sorted(key.prompts.items()):
        if one not in found:
            kind = _kind(anchored(prompts, labelled.get(one)))
            groups[kind, one in labelled].append(one)
    asked = sum(map(len, groups.values()))
    for ids in groups.values():
        found |= _ask(stack, key, ids, labelled)
    if asked:
        memory.write("key", key.plane, {one: (digests[one], found[one]) for one in digests})
    if unseen := [one for one in sorted(found) if found[one].empty and one not in labelled]:
        raise PromptError(
            f"the model finds nothing at the prompts of object {unseen[0]} on plane {key.plane}:"
            " give more of them, or draw it."
        )
    return found, asked


def _corrected(
    key: KeyPlane, labelled: Mapping[int, Shape], found: Mapping[int, Claim]
) -> dict[int, Shape]:
    """Labelled objects after their prompts: what clicks do not ask for stays as it was."""
    return {
        one: corrected(labelled[one], Shape(*claim.mask()), key.prompts[one])
        for one, claim in found.items()
        if one in labelled
    }


def _ask(
    stack: Stack, key: KeyPlane, ids: Sequence[int], labelled: Mapping[int, Shape]
) -> dict[int, Claim]:
    prompts = _together([anchored(key.prompts[one], labelled.get(one)) for one in ids])
    sketches = [
        Sketch(mask=shape.mask, offset=(shape.region[0].start, shape.region[1].start))
        for one in ids
        if (shape := labelled.get(one)) is not None
    ]
    single = prompts.boxes is None and not sketches
    single = single and prompts.points is not None and prompts.points.shape[1] == 1
    answers = finish(
        solve(stack.embedder, stack.plane(key.plane), prompts, multimask=single, sketches=sketches)
    )
    return {one: _claim(answer) for one, answer in zip(ids, answers, strict=True)}


def _claim(answer: Answer) -> Claim:
    best = int(answer.scores.argmax())
    prediction = answer.prediction
    return Claim.keep(
        Look(answer.region),
        prediction.frame,
        np.asarray(prediction.low_res_logits[answer.index, best]),
        float(answer.scores[best]),
    )


def _kind(prompts: Prompts) -> tuple[Any, ...]:
    """What prompts must have in common to be asked together."""
    values = (getattr(prompts, name) for name in _KINDS)
    return tuple(None if value is None else value.shape[1:] for value in values)


def _together(prompts: Sequence[Prompts]) -> Prompts:
    given: dict[str, NDArray[Any]] = {}
    for name in _KINDS:
        values = [getattr(one, name) for one in prompts]
        if values[0] is not None:
            given[name] = np.concatenate(values)
    return Prompts(**given)


def _digest(prompts: Prompts, shape: Shape | None) -> str:
    digest = xxhash.xxh3_128()
    for name in _KINDS:
        value = getattr(prompts, name)
        digest.update(repr((name, None if value is None else value.shape)).encode())
        if value is not None:
            digest.update(np.ascontiguousarray(value).data)
    if shape is not None:
        digest.update(repr(shape.region).encode())
        digest.update(np.packbits(shape.mask).data)
    return digest.hexdigest()
