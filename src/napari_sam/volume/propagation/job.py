"""propagate_objects: objects of some planes through all planes, as a job.

Masks, scores and origins of a plane are those of each object (``PlaneResult.origins``, not one
``origin``): objects have key planes of their own. Otherwise the order of things, and nothing else;
each thing is a module of this package.
"""

from collections import defaultdict
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import ImageError
from napari_sam.volume.embedder import Embedder
from napari_sam.volume.image import ImageRef
from napari_sam.volume.propagation.asking import Asker
from napari_sam.volume.propagation.between import Between
from napari_sam.volume.propagation.key_plane import KeyPlane
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.memory import Memory, Remembers
from napari_sam.volume.propagation.params import Axis, PropagateParams
from napari_sam.volume.propagation.result import (
    PlaneResult,
    Propagation,
    PropagationProgress,
    Stop,
)
from napari_sam.volume.propagation.seeds import find_keys
from napari_sam.volume.propagation.stack import Stack, open_embedder, turned
from napari_sam.volume.propagation.sweep import Swept, sweep

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.intensity import Intensity
    from napari_sam.volume.intensity import VolumeIntensity
    from napari_sam.volume.model import PredictorSource

__all__ = ["propagate_objects"]

_Job = Generator[PropagationProgress, None, Propagation]


def propagate_objects(
    image: Any,
    key_planes: Iterable[KeyPlane],
    model: "EncodesAndDecodes | PredictorSource | None" = None,
    params: PropagateParams | None = None,
    *,
    along: Axis = "z",
    at: int = 0,
    intensity: "Intensity | VolumeIntensity" = "percentile",
    channels: tuple[int, ...] | None = None,
    embeddings: "Embedder | str | Path | None" = None,
    memory: Remembers | None = None,
) -> _Job:
    """Carry objects from their key planes through the stack, in both directions, to their ends.

    A job: each step has the planes that are finished (``step.results``), each plane comes once, not
    in order. Closing it cancels; what was handed out stays good. Between key planes, results come
    when both passes are through.

    Parameters
    ----------
    image
        :class:`~napari_sam.volume.image.ImageRef`, or what that opens: array or path.
    key_planes
        What is known; at least one object. Planes are counted along ``along``.
    model
        A predictor, a source of one, or None for the bundled model.
    params
        How, and where objects end; None takes the defaults.
    along
        The axis: z, t, y or x. Along y, planes have rows along z; along x, columns along z.
    at
        For an image with both z and t, the point on the other one of the two.
    intensity, channels
        What the model sees, one range for all planes: see :func:`~napari_sam.to_picture`.
    embeddings
        Folder of a store of embeddings (``napari-sam embed``), which is used and added to; or an
        :class:`~napari_sam.volume.embedder.Embedder` of this image, which then also says model and
        intensity. None makes them when needed and keeps the last ones in memory.
    memory
        What was asked before on this image and model. Given again after a correction, only masks
        that change are asked for; the result is that of a run from the beginning.

    Yields
    ------
    PropagationProgress
        With the planes that were finished.

    Returns
    -------
    Propagation
        Scores by plane, ends, splits and merges.

    Raises
    ------
    PromptError
        Key planes do not fit the image or each other, or the model finds nothing at their prompts.
    ImageError
        The image cannot be taken, or has no such axis.
    ModelError, StoreError, OutOfMemoryError
        From model and store.
    """
    params = params or PropagateParams()
    yield PropagationProgress(0, 0, "opening the image")
    embedder = _embedder(image, model, along, intensity, channels, embeddings)
    stack = Stack(embedder, at)
    remembered = Memory() if memory is None else memory
    if along == "t":  # from one time to the next, objects move as they like
        params = params.changed(stiffness=0.0)
    try:
        asker, keys = yield from _begin(stack, tuple(key_planes), params, remembered)
        spacing = params.spacing or _spacing(embedder.job.image, along)
        return (yield from _propagate(asker, keys, params, spacing))
    finally:
        stack.close()


def _begin(
    stack: Stack, key_planes: tuple[KeyPlane, ...], params: PropagateParams, memory: Remembers
) -> Generator[PropagationProgress, None, tuple[Asker, Keys]]:
    """What the key planes say, and who is asked from there on."""
    finding = find_keys(stack, key_planes, params, memory)
    asker = Asker(stack, memory)
    while True:
        try:
            step = next(finding)
        except StopIteration as end:
            keys, asker.asked = end.value
            return asker, keys
        yield PropagationProgress(step.done, 0, step.message)


def _propagate(
    asker: Asker, keys: Keys, params: PropagateParams, spacing: tuple[float, float, float]
) -> _Job:
    """Both passes; planes beyond the key planes are handed out at once, those between last."""
    between = Between(keys, params, spacing)
    book = _Book(keys)
    if keys.lowest == keys.highest:
        yield book.step([between.settle(keys.lowest)], f"plane {keys.lowest}")
    for swept in sweep(asker, keys, params, spacing, "forward"):
        yield _pass(between, book, swept, "forward")
    for swept in sweep(asker, keys, params, spacing, "backward"):
        yield _pass(between, book, swept, "backward")
    if keys.lowest < keys.highest:
        for plane in range(keys.lowest, keys.highest + 1):
            yield book.step([between.settle(plane)], f"between key planes: plane {plane}")
    yield book.end()
    return book.close(asker)


def _pass(between: Between, book: "_Book", swept: Swept, direction: str) -> PropagationProgress:
    plane = swept.plane
    passes = between.forward if direction == "forward" else between.backward
    passes[plane] = swept
    message = f"{direction}: plane {plane}, {len(swept.claims)} objects"
    if between.keys.lowest <= plane <= between.keys.highest:
        return book.step([], message)
    result = between.settle(plane)
    between.forget(plane)
    return book.step([result], message)


class _Book:
    """Counts steps and collects what the summary says."""

    def __init__(self, keys: Keys) -> None:
        inside = keys.highest - keys.lowest
        self._total = (keys.last - keys.lowest) + (keys.highest - keys.first) + inside + 1
        self._done = self._planes = 0
        self._scores: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self._stops: dict[int, list[tuple[int, Stop]]] = defaultdict(list)
        self._events: list[Any] = []

    def step(self, results: list[PlaneResult], message: str) -> PropagationProgress:
        self._done += 1
        self._planes += len(results)
        for result in results:
            for one in result.objects:
                self._scores[one.id].append((result.plane, one.score))
            for stop in result.stopped:
                self._stops[stop.id].append((result.plane, stop))
            self._events += result.events
        return PropagationProgress(self._done, self._total, message, tuple(results))

    def end(self) -> PropagationProgress:
        return PropagationProgress(self._total, self._total, f"{self._planes} planes")

    def close(self, asker: Asker) -> Propagation:
        return Propagation(
            self._planes,
            {one: tuple(sorted(curve)) for one, curve in sorted(self._scores.items())},
            {one: tuple(stops) for one, stops in sorted(self._stops.items())},
            tuple(sorted(self._events, key=lambda event: (event.plane, event.ids))),
            asker.asked,
            asker.remembered,
        )


def _embedder(
    image: Any, model: Any, along: Axis, intensity: Any, channels: Any, embeddings: Any
) -> Embedder:
    ref = image if isinstance(image, ImageRef) else ImageRef.open(image)
    ref = ref if along == "z" and ref.depth > 1 else turned(ref, along)
    if not isinstance(embeddings, Embedder):
        return open_embedder(ref, model, intensity, channels, embeddings)
    known = embeddings.job.image
    if (known.axes, known.shape) != (ref.axes, ref.shape):
        raise ImageError(
            f"the embeddings are of {known.describe()}; propagation along {along} needs those of"
            f" {ref.describe()}."
        )
    return embeddings


def _spacing(image: ImageRef, along: Axis) -> tuple[float, float, float]:
    """(plane, row, column); a step in time counts as one pixel."""
    plane, row, column = image.spacing
    return ((row * column) ** 0.5, row, column) if along == "t" else (plane, row, column)
