"""Automatic masks: crops -> point grid -> filters -> NMS -> MaskRecord.

The official generator's results (Kirillov et al. 2023, appendix B and the released code) with
bounded memory: candidates are filtered by score before anything is upscaled, and one mask at a time
exists at full size. Knows the predictor's two calls; no GUI, no tiles.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.candidates import Candidates
from napari_sam.core.intensity import Intensity, to_picture
from napari_sam.core.masks import (
    MaskRecord,
    clean_records,
    non_maximum_suppression,
    stability_score,
    tight_region,
)
from napari_sam.core.params import AutomaticParams
from napari_sam.core.predictor import ImageEmbedding, MaskPrediction, Predictor, load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.progress import Progress

EDGE_TOLERANCE = 20  # pixels: a mask so near to a crop's edge was cut by it
Box = tuple[int, int, int, int]


class EncodesAndDecodes(Protocol):
    """What the generator needs of a predictor."""

    def encode(self, image: ArrayLike, *, intensity: Intensity = ...) -> ImageEmbedding:
        """Embed an image."""
        ...

    def decode(
        self, embedding: ImageEmbedding, prompts: Prompts, *, multimask: bool = ...
    ) -> MaskPrediction:
        """Decode prompts."""
        ...


@dataclass(frozen=True)
class Crop:
    """Part of the image that the model sees at once: half-open ``box`` and grid layer."""

    box: Box
    layer: int

    @property
    def size(self) -> tuple[int, int]:
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
    job = generate(image, used, settings, intensity=intensity)
    while True:
        try:
            next(job)
        except StopIteration as end:
            records: list[MaskRecord] = end.value
            return records


def generate(
    image: ArrayLike,
    predictor: EncodesAndDecodes,
    params: AutomaticParams,
    *,
    intensity: Intensity = "percentile",
) -> Generator[Progress, None, list[MaskRecord]]:
    """The job behind :func:`segment_everything`: yields after every batch of points."""
    picture = to_picture(image, intensity=intensity)
    shape = (picture.shape[0], picture.shape[1])
    crops = make_crops(shape, params.crop_n_layers, params.crop_overlap_ratio)
    total = sum(len(params.grid(crop.layer)) for crop in crops)
    done = 0
    found: list[MaskRecord] = []
    for number, crop in enumerate(crops, start=1):
        message = f"crop {number} of {len(crops)}" if len(crops) > 1 else "point grid"
        yield Progress(done, total, f"{message}: encoding")
        y0, x0, y1, x1 = crop.box
        embedding = predictor.encode(picture[y0:y1, x0:x1], intensity="as_is")
        records: list[MaskRecord] = []
        for points in _batches(params.grid(crop.layer) * crop.size, params.points_per_batch):
            records += _decode_batch(predictor, embedding, points, crop, shape, params)
            done += len(points)
            yield Progress(done, total, message)
        found += _suppress(records, [r.score for r in records], params.box_nms_thresh)
    if len(crops) > 1:  # masks from smaller crops are sharper: they win
        areas = [(r.crop[2] - r.crop[0]) * (r.crop[3] - r.crop[1]) for r in found]
        found = _suppress(found, [1 / area for area in areas], params.crop_nms_thresh)
    if params.min_mask_region_area > 0:
        limit = max(params.box_nms_thresh, params.crop_nms_thresh)
        found = clean_records(found, params.min_mask_region_area, iou_threshold=limit)
    return found


def collect(
    image: ArrayLike,
    predictor: EncodesAndDecodes,
    params: AutomaticParams,
    *,
    intensity: Intensity = "percentile",
) -> Generator[Progress, None, Candidates]:
    """Stand-in."""
    loose = params.changed(pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
    records = yield from generate(image, predictor, loose, intensity=intensity)
    shape = np.shape(image)[:2]
    return Candidates(tuple(records), (shape[0], shape[1]))


def select(candidates: Candidates, params: AutomaticParams) -> list[MaskRecord]:
    """Stand-in."""
    good = [
        r
        for r in candidates.records
        if r.score > params.pred_iou_thresh and r.stability >= params.stability_score_thresh
    ]
    return _suppress(good, [r.score for r in good], params.box_nms_thresh)


def make_crops(shape: tuple[int, int], n_layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole image, then 4, 16, ... overlapping crops of it, layer by layer."""
    height, width = shape
    crops = [Crop((0, 0, height, width), 0)]
    for layer in range(1, n_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(shape) * (2 / per_side))
        crop_h, crop_w = (ceil((overlap * (per_side - 1) + side) / per_side) for side in shape)
        starts_x = [int((crop_w - overlap) * i) for i in range(per_side)]
        starts_y = [int((crop_h - overlap) * i) for i in range(per_side)]
        for x0, y0 in product(starts_x, starts_y):
            box = (y0, x0, min(y0 + crop_h, height), min(x0 + crop_w, width))
            crops.append(Crop(box, layer))
    return crops


def _batches(points: NDArray[np.float64], size: int) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(points), size):
        yield points[start : start + size]


def _decode_batch(
    predictor: EncodesAndDecodes,
    embedding: ImageEmbedding,
    points_yx: NDArray[np.float64],
    crop: Crop,
    shape: tuple[int, int],
    params: AutomaticParams,
) -> list[MaskRecord]:
    """Masks of a batch of points that pass the score, stability and crop-edge filters."""
    ones = np.ones((len(points_yx), 1), np.int64)
    prompts = Prompts(points=points_yx[:, None], point_labels=ones)
    prediction = predictor.decode(embedding, prompts, multimask=True)
    records = []
    for index, candidate in product(range(len(points_yx)), range(prediction.scores.shape[1])):
        score = float(prediction.scores[index, candidate])
        if params.pred_iou_thresh > 0 and score <= params.pred_iou_thresh:
            continue
        logits = prediction.logits(index, candidate)
        stability = stability_score(logits, threshold=0.0, offset=params.stability_score_offset)
        if stability < params.stability_score_thresh:
            continue
        mask = logits > 0
        rows, columns = tight_region(mask)
        y0, x0 = crop.box[:2]
        region = (
            slice(rows.start + y0, rows.stop + y0),
            slice(columns.start + x0, columns.stop + x0),
        )
        point = (float(points_yx[index, 0]) + y0, float(points_yx[index, 1]) + x0)
        record = MaskRecord(mask[rows, columns], region, shape, score, stability, point, crop.box)
        if not _cut_by_crop(record.box, crop.box, shape):
            records.append(record)
    return records


def _cut_by_crop(box: Box, crop: Box, shape: tuple[int, int]) -> bool:
    """Whether a side of the box lies at an edge of the crop that is no edge of the image."""
    sides = np.array(box)
    near_crop = np.abs(sides - np.array(crop)) <= EDGE_TOLERANCE
    near_image = np.abs(sides - np.array((0, 0, *shape))) <= EDGE_TOLERANCE
    return bool((near_crop & ~near_image).any())


def _suppress(
    records: list[MaskRecord], scores: Sequence[float], threshold: float
) -> list[MaskRecord]:
    boxes = np.array([record.box for record in records]).reshape(-1, 4)
    keep = non_maximum_suppression(boxes, np.array(scores), iou_threshold=threshold)
    return [records[i] for i in keep]
