"""From one frozen request to masks: what runs in the worker when a person clicks.

Knows the predictor, the embeddings it has made and the pieces of a mask that a screen needs. Knows
no session, no layers and no threads (only locks: the caches are shared between them). Imports torch
only when the first job runs.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam._preload import gentle_import
from napari_sam.core.intensity import Intensity
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.strokes import Sketch, fed_back
from napari_sam.core.weights import find
from napari_sam.progress import Progress
from napari_sam.volume.model import ModelChoice as ModelChoice  # what a request asks for

if TYPE_CHECKING:
    from napari_sam.core.predictor import ImageEmbedding, MaskPrediction

EMBEDDINGS_KEPT = 8
PREDICTORS_KEPT = 2
STEPS = 4


@dataclass(frozen=True, eq=False)
class Plane:
    """One yx plane of an image that can be read later, in another thread.

    Attributes
    ----------
    key
        Differs for every image, content and position.
    data
        The array, of any library: numpy, dask, zarr. Only the plane is ever read.
    axes
        The two axes of ``data`` that are the plane's y and x.
    index
        Position along all axes of ``data`` but channels; ignored at ``axes``.
    rgb
        Whether ``data`` has a last axis of colours, which ``index`` leaves out.
    mixed
        An axis along which all channels are seen at once; None: only the one of ``index``.
    """

    key: Hashable
    data: Any
    axes: tuple[int, int]
    index: tuple[int, ...]
    rgb: bool = False
    mixed: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (int(self.data.shape[self.axes[0]]), int(self.data.shape[self.axes[1]]))

    def read(self) -> NDArray[np.generic]:
        """The pixels, (H, W) or (H, W, C). May be slow."""
        seen = self.axes if self.mixed is None else tuple(sorted((*self.axes, self.mixed)))
        where = tuple(slice(None) if a in seen else i for a, i in enumerate(self.index))
        pixels = np.asarray(self.data[where])
        return pixels if self.mixed is None else np.moveaxis(pixels, seen.index(self.mixed), -1)

    def project(self, position: tuple[float, ...]) -> tuple[float, float] | None:
        """(y, x) of a position in ``data``'s pixels, or None if it is on another plane."""
        for axis, (place, here) in enumerate(zip(position, self.index, strict=True)):
            if axis not in (*self.axes, self.mixed) and not here - 0.5 <= place < here + 0.5:
                return None
        return (position[self.axes[0]], position[self.axes[1]])

    def lift(self, y: float, x: float) -> tuple[float, ...]:
        """Position in ``data``'s pixels of a point (y, x) of the plane."""
        position = [float(i) for i in self.index]
        position[self.axes[0]], position[self.axes[1]] = y, x
        return tuple(position)


class PromptablePredictor(Protocol):
    """What is used of a :class:`~napari_sam.Predictor`; ``testing.FakePredictor`` has it too."""

    def encode(self, image: NDArray[np.generic], *, intensity: Intensity) -> "ImageEmbedding":
        """See :meth:`napari_sam.Predictor.encode`."""
        ...

    def decode(
        self, embedding: "ImageEmbedding", prompts: Prompts, *, multimask: bool
    ) -> "MaskPrediction":
        """See :meth:`napari_sam.Predictor.decode`."""
        ...


Load = Callable[[ModelChoice], PromptablePredictor]


@dataclass(frozen=True)
class Origin:
    """What masks were made by, for the journal.

    Attributes
    ----------
    model
        Its name.
    weights
        ``sha256:...`` of their file; empty: not known.
    intensity
        What it saw.
    """

    model: str
    weights: str
    intensity: Intensity

    def to_json(self) -> dict[str, Any]:
        """As a journal keeps it."""
        seen = self.intensity if isinstance(self.intensity, str) else list(self.intensity)
        return {"model": self.model, "weights": self.weights, "intensity": seen}


@dataclass(frozen=True)
class PredictRequest:
    """Everything that a prediction needs, frozen when the prompt was made.

    Attributes
    ----------
    generation
        Number of the request; a response with an older one than the session's is dropped.
    plane
        What to look at.
    prompts
        B objects in (y, x) pixels of the plane.
    note
        What was left out of the prompts, for the user; comes back with the answer.
    sketches
        A mask prompt for each object, not yet painted; or none.
    twice
        Whether the answer is fed back as mask prompt.
    brief
        Whether small objects go without a closer look: for what follows the mouse.
    """

    generation: int
    model: ModelChoice
    plane: Plane
    intensity: Intensity
    prompts: Prompts
    note: str = ""
    sketches: tuple[Sketch, ...] = ()
    twice: bool = False
    brief: bool = False


@dataclass(frozen=True, eq=False)
class MaskPatch:
    """A mask and where it lies: only the bounding box of its object.

    Attributes
    ----------
    offset
        (y, x) of the first pixel in the plane.
    mask
        (h, w) bool; (0, 0) where the object is empty.
    score
        Predicted IoU.
    """

    offset: tuple[int, int]
    mask: NDArray[np.bool_]
    score: float


@dataclass(frozen=True, eq=False)
class PredictResponse:
    """Masks for a request: ``objects[i][j]`` is candidate j of object i.

    A single click has three candidates, in the decoder's order; all other objects have one.
    ``best`` is the candidate to show first; ``weights`` tells the file of the model from others.
    """

    generation: int
    plane: Plane
    objects: tuple[tuple[MaskPatch, ...], ...]
    best: int
    runtime: str = ""
    note: str = ""
    weights: str = ""


class EmbeddingCache:
    """The embeddings used last, by (plane, model, intensity). Safe to share between threads."""

    def __init__(self, kept: int = EMBEDDINGS_KEPT) -> None:
        self._kept = kept
        self._entries: OrderedDict[Hashable, ImageEmbedding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> "ImageEmbedding | None":
        """The embedding, which then counts as just used."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, embedding: "ImageEmbedding") -> None:
        """Keep an embedding; the one unused for longest goes."""
        with self._lock:
            self._entries[key] = embedding
            while len(self._entries) > self._kept:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class PredictorPool:
    """Loaded predictors, shared by all windows: they remember no image."""

    def __init__(self, kept: int = PREDICTORS_KEPT) -> None:
        self._kept = kept
        self._loaded: OrderedDict[ModelChoice, PromptablePredictor] = OrderedDict()
        self._hashes: dict[ModelChoice, str] = {}
        self._lock = threading.Lock()

    def __call__(self, choice: ModelChoice) -> PromptablePredictor:
        """Load a model, or take the one that is loaded."""
        with self._lock:
            if choice not in self._loaded:
                self._loaded[choice] = _load(choice)
            self._loaded.move_to_end(choice)
            while len(self._loaded) > self._kept:
                self._loaded.popitem(last=False)
            return self._loaded[choice]

    def weights(self, choice: ModelChoice) -> str:
        """``sha256:...`` of a model's weights file; computed once, which takes a while."""
        with self._lock:
            if choice not in self._hashes:
                path = find(get_spec(choice.name)) if choice.weights is None else choice.weights
                self._hashes[choice] = _sha256(path)
            return self._hashes[choice]


def weights_of(load: Load, choice: ModelChoice) -> str:
    """``sha256:...`` of a model's weights; empty for a predictor that was given, as in tests."""
    return load.weights(choice) if isinstance(load, PredictorPool) else ""


def _sha256(path: str | Path | None) -> str:
    try:
        with open(path or "", "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError:  # the file has gone since it was loaded
        return ""


def _load(choice: ModelChoice) -> PromptablePredictor:
    with gentle_import():
        predictor = choice.load_anew()
    from napari_sam.core.native.library import make_in_background

    make_in_background()  # clicks on any model are faster with it, but none waits for a compiler
    return predictor


predictors = PredictorPool()


def predict(
    request: PredictRequest, *, load: Load, cache: EmbeddingCache
) -> Generator[Progress, None, PredictResponse]:
    """Answer a request. A job: closing the generator cancels at the next step.

    Raises
    ------
    NapariSamError
        From loading the model, reading and encoding the plane, or decoding the prompts.
    """
    yield Progress(0, STEPS, "Loading the model ...")
    predictor = load(request.model)
    key = (request.plane.key, request.model, request.intensity)
    embedding = cache.get(key)
    if embedding is None:
        yield Progress(1, STEPS, "Reading the image ...")
        image = request.plane.read()
        yield Progress(2, STEPS, "The model looks at the image, once ...")
        embedding = predictor.encode(image, intensity=request.intensity)
        cache.put(key, embedding)
    yield Progress(3, STEPS, "Drawing the mask ...")
    if request.brief:
        embedding = replace(embedding, picture=None)
    prediction = ask(predictor, embedding, request.prompts, request.sketches, twice=request.twice)
    objects = cut_objects(prediction)
    best = int(prediction.best()[0]) if len(objects) == 1 else 0
    runtime = getattr(predictor, "runtime", None)
    line = "" if runtime is None else runtime.describe()
    return PredictResponse(
        request.generation,
        request.plane,
        objects,
        best,
        line,
        request.note,
        weights_of(load, request.model),
    )


def ask(
    predictor: PromptablePredictor,
    embedding: "ImageEmbedding",
    prompts: Prompts,
    sketches: Sequence[Sketch] = (),
    *,
    twice: bool = False,
) -> "MaskPrediction":
    """The model's answer to prompts of one plane, with the mask prompts painted."""
    if sketches:
        painted = np.stack([sketch.logits(embedding.frame) for sketch in sketches])
        prompts = fed_back(prompts, painted)
    answer = predictor.decode(embedding, prompts, multimask=is_ambiguous(prompts))
    if twice and not is_ambiguous(prompts):
        again = fed_back(prompts, answer.low_res_logits[:, 0])
        answer = predictor.decode(embedding, again, multimask=False)
    return answer


def is_ambiguous(prompts: Prompts) -> bool:
    """Whether each object has a single click: a part or the whole? Only then there are candidates.

    With a box or more points one mask is asked for, as SAM's authors advise: it is the better one
    (bundled model, sample of fluorescence, a box an object: mean IoU 0.94 against 0.89).
    """
    points = prompts.points
    alone = prompts.boxes is None and prompts.mask_logits is None
    return alone and points is not None and points.shape[1] == 1


def cut_objects(prediction: "MaskPrediction") -> tuple[tuple[MaskPatch, ...], ...]:
    """Patches of a prediction: all candidates of a single object, the best of each of several."""
    scores = prediction.scores
    if len(scores) == 1:
        wanted = [[(0, j) for j in range(scores.shape[1])]]
    else:
        wanted = [[(i, int(j))] for i, j in enumerate(prediction.best())]
    return tuple(tuple(_patch(prediction, i, j) for i, j in pairs) for pairs in wanted)


def _patch(prediction: "MaskPrediction", index: int, candidate: int) -> MaskPatch:
    mask, (rows, columns) = prediction.patch(index, candidate)
    score = float(prediction.scores[index, candidate])
    return MaskPatch((rows.start, columns.start), mask, score)


def paint(
    patches: Sequence[MaskPatch], numbers: Sequence[int], dtype: Any
) -> tuple[tuple[int, int], NDArray[Any]]:
    """Draw patches into one small array; where they overlap, the better score stays on top."""
    y0, x0 = (min(patch.offset[i] for patch in patches) for i in (0, 1))
    y1, x1 = (max(patch.offset[i] + patch.mask.shape[i] for patch in patches) for i in (0, 1))
    canvas = np.zeros((y1 - y0, x1 - x0), dtype)
    for index in np.argsort([patch.score for patch in patches], kind="stable"):
        patch = patches[index]
        (y, x), (h, w) = patch.offset, patch.mask.shape
        canvas[y - y0 : y - y0 + h, x - x0 : x - x0 + w][patch.mask] = numbers[index]
    return (y0, x0), canvas
