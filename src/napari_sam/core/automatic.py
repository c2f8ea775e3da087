"""Automatic masks: crops -> point grid -> candidates -> filters -> NMS -> MaskRecord.

The official generator's results (Kirillov et al. 2023, appendix B and the released code) in two
stages: :func:`collect` asks the model, :func:`select` applies all thresholds to its answers, again
and again if need be. Memory stays bounded: only answers with a good score are upscaled, one at a
time, and kept packed. Knows the predictor's two calls; no GUI, no tiles.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.candidates import Candidates, measure, near_crop_edge
from napari_sam.core.hierarchy import choose_level
from napari_sam.core.intensity import Intensity, to_picture
from napari_sam.core.masks import Box, MaskRecord, boxes_of, non_maximum_suppression
from napari_sam.core.params import AutomaticParams
from napari_sam.core.point_grid import AdaptiveGrid, FullGrid, PointGrid
from napari_sam.core.predictor import ImageEmbedding, MaskPrediction, Predictor, load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.regions import Size, shift
from napari_sam.errors import PromptError
from napari_sam.progress import Progress, finish

EDGE_TOLERANCE = 20  # pixels: a mask so near to a crop's edge was cut by it
LEAST_CROP = 16  # pixels a side: in smaller crops there is nothing to see
SURE = 0.3  # of the way from the score's threshold to 1: a poorer mask may hide a better one


class EncodesAndDecodes(Protocol):
    """What the generator needs of a predictor."""

    def encode(self, image: ArrayLike, *, intensity: Intensity = ...) -> ImageEmbedding:
        """Embed an image."""
        ...

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        multimask: bool = ...,
        least_score: float | None = ...,
    ) -> MaskPrediction:
        """Decode prompts; masks with a score not above ``least_score`` may be empty."""
        ...


@dataclass(frozen=True)
class Crop:
    """Part of the image that the model sees at once: half-open ``box`` and grid layer."""

    box: Box
    layer: int

    @property
    def size(self) -> Size:
        """(height, width)."""
        y0, x0, y1, x1 = self.box
        return (y1 - y0, x1 - x0)


def segment_everything(
    image: ArrayLike,
    predictor: Predictor | None = None,
    *,
    intensity: Intensity = "percentile",
    params: AutomaticParams | None = None,
    **changes: object,
) -> list[MaskRecord]:
    """Find all objects of an image.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), any real dtype.
    predictor
        From :func:`~napari_sam.load_predictor`; None takes the bundled model.
    intensity
        See :func:`~napari_sam.to_picture`; the range is that of the whole image, crops included.
    params
        Settings; None takes the model's defaults.
    **changes
        Single settings by name, such as ``points_per_side=16`` (official names).

    Returns
    -------
    list of MaskRecord
        Best first within each crop, in the order of the official generator.

    Raises
    ------
    ImageError, PromptError
        The image or a setting cannot be used.
    """
    used = predictor or load_predictor()
    settings = (params or AutomaticParams.for_model(used.spec)).changed(**changes)
    return finish(generate(image, used, settings, intensity=intensity))


def generate(
    image: ArrayLike,
    predictor: EncodesAndDecodes,
    params: AutomaticParams,
    *,
    intensity: Intensity = "percentile",
) -> Generator[Progress, None, list[MaskRecord]]:
    """The job behind :func:`segment_everything`: yields after every batch of points."""
    candidates = yield from collect(image, predictor, params, intensity=intensity)
    return select(candidates, params)


def collect(
    image: ArrayLike,
    predictor: EncodesAndDecodes,
    params: AutomaticParams,
    *,
    intensity: Intensity = "percentile",
) -> Generator[Progress, None, Candidates]:
    """Ask the model at all points, once: a job that yields after every batch of points.

    Parameters
    ----------
    image, intensity
        As for :func:`segment_everything`.
    predictor
        Encodes and decodes.
    params
        Crops and points. Answers with a score not above ``pred_iou_thresh`` are not kept: to move
        that threshold later, collect with a lower one. An adaptive grid takes ``pred_iou_thresh``
        and ``stability_score_thresh`` for what counts as found.

    Returns
    -------
    Candidates
        For :func:`select`.

    Raises
    ------
    ImageError, PromptError
        The image or a setting cannot be used.
    """
    picture = to_picture(image, intensity=intensity)
    shape = (picture.shape[0], picture.shape[1])
    crops = make_crops(shape, params.crop_n_layers, params.crop_overlap_ratio)
    total = sum(len(params.grid(crop.layer)) for crop in crops)
    done = prompts = 0
    found: list[MaskRecord] = []
    numbers: list[int] = []
    for number, crop in enumerate(crops):
        which = f", crop {number + 1} of {len(crops)}" if len(crops) > 1 else ""
        message = f"The model is asked everywhere{which}"
        yield Progress(done, total, f"The model looks at the image, once{which}")
        y0, x0, y1, x1 = crop.box
        part = picture[y0:y1, x0:x1]
        embedding = predictor.encode(part, intensity="as_is")
        points = params.grid(crop.layer) * crop.size
        grid = make_grid(part, points, crop, params)
        done += len(points)
        ask = partial(_ask, predictor, embedding, points, crop, shape, params)
        for asked, records in walk(grid, ask, params):
            found += records
            numbers += [number] * len(records)
            prompts += asked
            yield Progress(done - grid.left, total, message)
        yield Progress(done, total, message)  # an adaptive grid may leave out its last points
    least = _least_score(params)
    return Candidates(
        tuple(found), shape, np.array(numbers, np.intp), len(crops), least,
        params.stability_score_offset, prompts,
    )  # fmt: skip


def select(candidates: Candidates, params: AutomaticParams) -> list[MaskRecord]:
    """Apply all thresholds to candidates: fast, and without the model.

    Parameters
    ----------
    candidates
        From :func:`collect`.
    params
        Thresholds, NMS, small regions and level; what makes the grid has no say any more.

    Returns
    -------
    list of MaskRecord
        The masks of the official generator, in its order.

    Raises
    ------
    PromptError
        ``pred_iou_thresh`` is lower than the candidates were collected with, or
        ``stability_score_offset`` is another one: collect again.
    """
    _check_collected(candidates, params)
    stays = ~near_crop_edge(
        candidates.boxes, candidates.crops, candidates.shape, tolerance=EDGE_TOLERANCE
    )
    if params.pred_iou_thresh > 0:
        stays &= candidates.scores > params.pred_iou_thresh
    if params.stability_score_thresh > 0:
        stays &= candidates.stabilities >= params.stability_score_thresh
    kept = np.empty(0, np.intp)
    for number in range(candidates.n_crops):
        of_crop = np.flatnonzero(stays & (candidates.crop_numbers == number))
        scores = candidates.scores[of_crop]
        kept = np.r_[kept, _suppress(candidates, of_crop, scores, params.box_nms_thresh)]
    if candidates.n_crops > 1:  # masks from smaller crops are sharper: they win
        y0, x0, y1, x1 = candidates.crops[kept].T
        # In single precision, as there: what ties there must tie here.
        sharpness = np.float32(1) / ((y1 - y0) * (x1 - x0)).astype(np.float32)
        kept = _suppress(candidates, kept, sharpness, params.crop_nms_thresh)
    records = [candidates.records[index] for index in kept]
    if params.min_mask_region_area > 0:
        records = _clean(candidates, kept, params)
    return choose_level(records, params.level)


def make_crops(shape: Size, n_layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole image, then 4, 16, ... overlapping crops of it, layer by layer.

    Raises
    ------
    PromptError
        There are more layers than the image has pixels for.
    """
    height, width = shape
    crops = [Crop((0, 0, height, width), 0)]
    for layer in range(1, n_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(shape) * (2 / per_side))
        crop_h, crop_w = (ceil((overlap * (per_side - 1) + side) / per_side) for side in shape)
        if min(crop_h, crop_w) < LEAST_CROP or min(crop_h, crop_w) <= overlap:
            raise PromptError(
                f"crop_n_layers is {n_layers}; in layer {layer} the crops of this image of"
                f" {height} x {width} pixels would have {crop_h} x {crop_w}, which is too small"
                f" (least: {LEAST_CROP} a side). Take at most {layer - 1}."
            )
        starts_x = [(crop_w - overlap) * i for i in range(per_side)]
        starts_y = [(crop_h - overlap) * i for i in range(per_side)]
        for x0, y0 in product(starts_x, starts_y):
            box = (y0, x0, min(y0 + crop_h, height), min(x0 + crop_w, width))
            crops.append(Crop(box, layer))
    return crops


def make_grid(
    picture: NDArray[np.uint8], points: NDArray[np.float64], crop: Crop, params: AutomaticParams
) -> PointGrid:
    """The grid that the settings ask for, over the picture and the points (N, 2) of a crop."""
    if not params.adaptive:
        return FullGrid(len(points))
    return AdaptiveGrid(picture, points, params.side(crop.layer), origin=crop.box[:2])


def walk(
    grid: PointGrid,
    ask: Callable[[NDArray[np.intp]], list[MaskRecord]],
    params: AutomaticParams,
) -> Iterator[tuple[int, list[MaskRecord]]]:
    """Ask a grid's points batch by batch, and tell it what is good among the answers.

    Parameters
    ----------
    grid
        From :func:`make_grid`.
    ask
        Numbers of points -> the answers to keep.
    params
        Thresholds, and how many points are asked at once.

    Yields
    ------
    tuple
        How many points were asked, and their answers.
    """
    while len(batch := grid.next(params.points_per_batch)):
        records = ask(batch)
        grid.found(_good(records, params))
        yield len(batch), records


def _least_score(params: AutomaticParams) -> float | None:
    """The score filter, which is off at 0 as in the official generator."""
    return params.pred_iou_thresh if params.pred_iou_thresh > 0 else None


def _ask(
    predictor: EncodesAndDecodes,
    embedding: ImageEmbedding,
    grid_yx: NDArray[np.float64],
    crop: Crop,
    shape: Size,
    params: AutomaticParams,
    batch: NDArray[np.intp],
) -> list[MaskRecord]:
    """The answers with a good score to a batch of the grid's points, in pixels of the crop."""
    points_yx = grid_yx[batch]
    least, corner = _least_score(params), crop.box[:2]
    ones = np.ones((len(points_yx), 1), np.int64)
    prompts = Prompts(points=points_yx[:, None], point_labels=ones)
    # -inf keeps all, as None would, but says that this is a grid: no closer looks.
    floor = -np.inf if least is None else least
    prediction = predictor.decode(embedding, prompts, multimask=True, least_score=floor)
    records = []
    for index, candidate in np.ndindex(prediction.scores.shape):
        score = prediction.scores[index, candidate]
        if least is not None and not score > least:
            continue
        low_res = prediction.low_res_logits[index, candidate]
        offset = params.stability_score_offset
        patch, region, stability = measure(prediction.frame, low_res, offset=offset)
        y, x = (points_yx[index] + corner).tolist()
        records.append(
            MaskRecord(
                patch, shift(region, corner), shape, float(score), stability, (y, x), crop.box
            )
        )
    return records


def _good(records: Sequence[MaskRecord], params: AutomaticParams) -> list[MaskRecord]:
    """Those that an adaptive grid may rely on: the filters leave them, and their score is high."""
    crops = [record.crop for record in records]
    if not records:
        return []
    cut = near_crop_edge(boxes_of(records), crops, records[0].shape, tolerance=EDGE_TOLERANCE)
    least = params.stability_score_thresh
    sure = params.pred_iou_thresh + SURE * (1 - params.pred_iou_thresh)
    return [
        record
        for record, edge in zip(records, cut, strict=True)
        if record.stability >= least and record.score >= sure and not edge
    ]


def _check_collected(candidates: Candidates, params: AutomaticParams) -> None:
    offset, least = candidates.stability_score_offset, candidates.least_score
    if params.stability_score_offset != offset:
        raise PromptError(
            f"the stability was measured with stability_score_offset={offset:g}; for"
            f" {params.stability_score_offset:g} collect the candidates again."
        )
    if least is not None and params.pred_iou_thresh < least:
        raise PromptError(
            f"only candidates with a score above {least:g} were kept; for"
            f" pred_iou_thresh={params.pred_iou_thresh:g} collect them again with that threshold"
            " or a lower one."
        )


def _suppress(
    candidates: Candidates,
    indices: NDArray[np.intp],
    scores: NDArray[np.float32],
    threshold: float,
) -> NDArray[np.intp]:
    keep = non_maximum_suppression(candidates.boxes[indices], scores, iou_threshold=threshold)
    return indices[keep]


def _clean(
    candidates: Candidates, indices: NDArray[np.intp], params: AutomaticParams
) -> list[MaskRecord]:
    """Without small holes and islands, and without the duplicates that this makes.

    As in the official code, masks that did not change win over those that did.
    """
    least = params.min_mask_region_area
    cleaned = [candidates.cleaned(int(index), least) for index in indices]
    pairs = zip(cleaned, indices, strict=True)
    unchanged = np.array([record is candidates.records[index] for record, index in pairs], float)
    limit = max(params.box_nms_thresh, params.crop_nms_thresh)
    keep = non_maximum_suppression(boxes_of(cleaned), unchanged, iou_threshold=limit)
    return [cleaned[index] for index in keep]
