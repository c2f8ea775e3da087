"""Everything in a plane, in two jobs: ask the model once, then apply thresholds as often as wanted.

Values and jobs only, as in ``_predict``: knows the automatic generator; knows no session, no layers
and no threads. Imports torch only when the first job runs.
"""

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_erosion

from napari_sam._predict import (
    EmbeddingCache,
    Load,
    ModelChoice,
    Origin,
    Plane,
    PromptablePredictor,
    weights_of,
)
from napari_sam._preload import gentle_import
from napari_sam.core.intensity import Intensity
from napari_sam.core.masks import MaskRecord, Overlap, fitting, records_to_labels
from napari_sam.core.params import AutomaticParams
from napari_sam.core.regions import Region, shift
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.core.candidates import Candidates
    from napari_sam.core.predictor import ImageEmbedding, MaskPrediction

LIVE = ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "level")
LEAST_SCORE = 0.5  # candidates that the model expects less of are not kept: they cost time
MOST_PREVIEW_SIDE = 2048  # pixels: napari takes longer over a larger layer than a slider may
COLORS = 24  # numbers 1 to 24 in a preview: candidates that stay
DROPPED = COLORS + 1  # and the outline of one that does not
_PARAMS = frozenset(one.name for one in fields(AutomaticParams))


@dataclass(frozen=True)
class Settings:
    """What the user sets.

    Attributes
    ----------
    params
        Those of the generator; all but the ``LIVE`` ones need a new run.
    least_area, most_area
        Pixels that a candidate may have; None is no limit.
    drop_border
        Leave out candidates that touch the border of the plane.
    overlap
        What is on top where candidates overlap.
    replace
        Whether the commit may paint over labels that are there.
    """

    params: AutomaticParams = field(default_factory=AutomaticParams)
    least_area: int = 0
    most_area: int | None = None
    drop_border: bool = False
    overlap: Overlap = "smaller_on_top"
    replace: bool = False

    def changed(self, **changes: Any) -> "Settings":
        """A copy with other values; names of the generator's settings are those of its own."""
        inner = {name: value for name, value in changes.items() if name in _PARAMS}
        outer = {name: value for name, value in changes.items() if name not in _PARAMS}
        return replace(self, params=self.params.changed(**inner), **outer)

    @property
    def grid(self) -> AutomaticParams:
        """The settings that need a new run: two equal ones lead to the same candidates."""
        usual = AutomaticParams()
        return self.params.changed(**{name: getattr(usual, name) for name in LIVE})

    def pick(self, records: Sequence[MaskRecord], size: tuple[int, int]) -> list[MaskRecord]:
        """The candidates of the wanted size and place."""
        return list(fitting(records, size, self.least_area, self.most_area, self.drop_border))


@dataclass(frozen=True)
class SweepRequest:
    """Everything that a run needs, frozen when Run was pressed."""

    generation: int
    model: ModelChoice
    plane: Plane
    intensity: Intensity
    settings: Settings


@dataclass(frozen=True, eq=False)
class Found:
    """What the model answered to a request, before any threshold; what it ran on; its weights."""

    request: SweepRequest
    candidates: "Candidates"
    runtime: str = ""
    weights: str = ""


@dataclass(frozen=True, eq=False)
class ChooseRequest:
    """Thresholds to apply, and the names of the candidates that the user has dropped.

    ``records``: what passes, where it is known because only a candidate was dropped since.
    """

    found: Found
    settings: Settings
    dropped: frozenset[Hashable] = frozenset()
    records: tuple[MaskRecord, ...] | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """What passes, the undermost first, and its preview.

    Attributes
    ----------
    preview
        uint8 over the whole plane: 0, colours 1 to ``COLORS``, outlines ``DROPPED``.
    step
        Pixels of the plane for each of the preview.
    """

    request: ChooseRequest
    records: tuple[MaskRecord, ...]
    preview: NDArray[np.uint8]
    step: int

    @property
    def plane(self) -> Plane:
        """Where they are."""
        return self.request.found.request.plane

    @property
    def kept(self) -> list[MaskRecord]:
        """Those that a commit writes."""
        return [one for one in self.records if name_of(one) not in self.request.dropped]

    def at(self, y: float, x: float) -> MaskRecord | None:
        """The candidate on top at a point of the plane, be it dropped or not."""
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        for record in reversed(self.records):
            rows, columns = record.region
            inside = rows.start <= row < rows.stop and columns.start <= column < columns.stop
            if inside and record.patch[row - rows.start, column - columns.start]:
                return record
        return None


def name_of(record: MaskRecord) -> Hashable:
    """What tells a candidate from the others of its run, whatever the thresholds are."""
    return (record.point, record.crop, record.box, round(record.score, 6))


def sweep(
    request: SweepRequest, *, load: Load, cache: EmbeddingCache
) -> Generator[Progress, None, Found]:
    """Ask the model about a grid of points. A job, as :func:`~napari_sam._predict.predict`.

    Raises
    ------
    NapariSamError
        From loading the model, reading the plane or running the model.
    """
    yield Progress(0, 0, "Loading the model ...")
    predictor = load(request.model)
    with gentle_import():
        from napari_sam.core.automatic import collect
    yield Progress(0, 0, "Reading the image ...")
    image = request.plane.read()
    remembering = _Remembering(predictor, request, cache)
    params = asked_with(request.settings.params)
    candidates = yield from collect(image, remembering, params, intensity=request.intensity)
    runtime = getattr(predictor, "runtime", None)
    line = "" if runtime is None else runtime.describe()
    return Found(request, candidates, line, weights_of(load, request.model))


def asked_with(params: AutomaticParams) -> AutomaticParams:
    """The settings of a run: more is kept than passes now, so that the threshold can be lowered.

    An adaptive grid must have the wanted threshold: by it, it tells where something was found.
    """
    if params.adaptive:
        return params
    return params.changed(pred_iou_thresh=min(params.pred_iou_thresh, LEAST_SCORE))


class _Remembering:
    """A predictor that shares the embedding of the whole plane with the clicks."""

    def __init__(
        self, predictor: PromptablePredictor, request: SweepRequest, cache: EmbeddingCache
    ) -> None:
        self._predictor = predictor
        self._size = request.plane.size
        self._key = (request.plane.key, request.model, request.intensity)
        self._cache = cache

    def encode(self, image: ArrayLike, *, intensity: Intensity = "percentile") -> "ImageEmbedding":
        picture = np.asarray(image)
        if picture.shape[:2] != self._size:  # a crop
            return self._predictor.encode(picture, intensity=intensity)
        embedding = self._cache.get(self._key)
        if embedding is None:
            embedding = self._predictor.encode(picture, intensity=intensity)
            self._cache.put(self._key, embedding)
        return embedding

    def decode(self, *args: Any, **options: Any) -> "MaskPrediction":
        return self._predictor.decode(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


def choose(request: ChooseRequest) -> Generator[Progress, None, Selection]:
    """Apply thresholds to what the model has answered; asks it nothing. A job."""
    from napari_sam.core.automatic import select

    settings, found = request.settings, request.found
    size = found.request.plane.size
    yield Progress(0, 0, "Choosing ...")
    records = request.records
    if records is None:
        least = found.candidates.least_score or 0.0  # below it there is nothing to choose from
        threshold = max(settings.params.pred_iou_thresh, least)
        params = settings.params.changed(pred_iou_thresh=threshold)
        passing = select(found.candidates, params)
        records = in_order(settings.pick(passing, size), settings.overlap)
        yield Progress(0, 0, "Drawing ...")
    step = -(-max(size) // MOST_PREVIEW_SIDE)
    return Selection(request, records, draw(records, size, request.dropped, step=step), step)


def in_order(records: Sequence[MaskRecord], overlap: Overlap) -> tuple[MaskRecord, ...]:
    """Records as they lie on each other, the undermost first."""
    if overlap == "score_on_top":
        return tuple(sorted(records, key=lambda record: record.score))
    return tuple(sorted(records, key=lambda record: -record.area))


def draw(
    records: Sequence[MaskRecord],
    size: tuple[int, int],
    dropped: frozenset[Hashable],
    *,
    step: int = 1,
) -> NDArray[np.uint8]:
    """The preview of a :class:`Selection`: areas that stay, outlines of those that do not."""
    canvas = np.zeros([-(-side // step) for side in size], np.uint8)
    outlines = []
    for record in records:
        rows, columns = record.region
        first = (-rows.start % step, -columns.start % step)
        patch = record.patch[first[0] :: step, first[1] :: step]
        y, x = (rows.start + first[0]) // step, (columns.start + first[1]) // step
        part = canvas[y : y + patch.shape[0], x : x + patch.shape[1]]
        name = name_of(record)
        if name in dropped:
            outlines.append((part, patch))
        else:
            part[patch] = hash(name) % COLORS + 1
    for part, patch in outlines:
        part[patch & ~binary_erosion(patch)] = DROPPED
    return canvas


@dataclass(frozen=True, eq=False)
class LabelsToWrite:
    """Objects 1 to n to commit, as they lie on each other; drawn in a worker.

    Attributes
    ----------
    plane
        Where they lie.
    records
        The objects, in the order of their numbers.
    overlap
        What is on top.
    replace
        Whether labels that are there may be painted over.
    origin
        What they were made by.
    """

    plane: Plane
    records: tuple[MaskRecord, ...]
    overlap: Overlap
    replace: bool
    origin: Origin

    @classmethod
    def of(cls, selection: Selection) -> "LabelsToWrite":
        """Those of a selection that stay."""
        settings, found = selection.request.settings, selection.request.found
        origin = Origin(found.request.model.name, found.weights, found.request.intensity)
        kept = tuple(selection.kept)
        return cls(selection.plane, kept, settings.overlap, settings.replace, origin)

    @property
    def region(self) -> Region:
        """Rows and columns that they touch."""
        regions = [record.region for record in self.records]
        rows, columns = (
            slice(min(r[axis].start for r in regions), max(r[axis].stop for r in regions))
            for axis in (0, 1)
        )
        return (rows, columns)

    @property
    def scores(self) -> tuple[float, ...]:
        """Predicted IoU of each."""
        return tuple(record.score for record in self.records)

    def canvas(self) -> NDArray[np.uint32]:
        """The region (h, w) with numbers 1 to n."""
        labels = records_to_labels(self.records, self.plane.size, overlap=self.overlap)
        return labels[self.region]

    def beneath(self, canvas: NDArray[Any]) -> dict[int, NDArray[np.bool_]]:
        """Of each object (h, w) the pixels on which others of them lie, where there are any."""
        found = {}
        rows, columns = self.region
        for number, record in enumerate(self.records, start=1):
            place = shift(record.region, (-rows.start, -columns.start))
            hidden = record.patch & (canvas[place] != number)
            if hidden.any():
                found[number] = np.zeros(canvas.shape, bool)
                found[number][place] = hidden
        return found
