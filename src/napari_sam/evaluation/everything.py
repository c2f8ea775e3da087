"""The automatic protocol: everything in an image without prompts, against all of its true objects.

One label image a picture, made by the defaults of the model (``AutomaticParams.for_model``), judged
by matches at IoU 0.5 to 0.95; the records with their scores, by average precision. "F1": Caicedo et
al. 2019; "SA", "mSA": Archit et al. 2025; panoptic quality: Kirillov et al. 2019; AP: Lin et al.
2014. Only images all of whose objects are annotated one by one may take part: elsewhere a found
object may be a true one. Knows no file and no report.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.groups import group_order
from napari_sam.evaluation.matching import (
    THRESHOLDS,
    Counts,
    Ranking,
    average_precision,
    count_matches,
    iou_table,
    rank,
)
from napari_sam.evaluation.metrics import Estimate, Floats, estimate
from napari_sam.evaluation.proposals import NMS_THRESH, best_proposals
from napari_sam.progress import finish

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.masks import MaskRecord


@dataclass(frozen=True)
class ImageMatches:
    """What was found in one image.

    Attributes
    ----------
    group, sample
        Row of the report; name of the image.
    counts
        For each of :data:`~napari_sam.evaluation.matching.THRESHOLDS`.
    best_iou
        Of every true object with any record.
    ranking
        Of the records.
    """

    group: str
    sample: str
    counts: tuple[Counts, ...]
    best_iou: tuple[float, ...]
    ranking: Ranking = field(repr=False)


@dataclass(frozen=True)
class EverythingSummary:
    """One row of the report.

    Attributes
    ----------
    name, n_images, n_objects
        The group, and what is in it.
    f1, f1_75
        At IoU 0.5, with its interval, and at 0.75.
    accuracy, mean_accuracy
        Hits / (hits + extra + missed) at 0.5, and its mean over all thresholds.
    panoptic
        Quality at 0.5.
    precision, mean_precision
        Average precision of the records at 0.5, and its mean over all thresholds.
    best_iou
        Mean over true objects of the IoU with the record that fits best.
    """

    name: str
    n_images: int
    n_objects: int
    f1: Estimate
    f1_75: float
    accuracy: float
    mean_accuracy: float
    panoptic: float
    precision: float
    mean_precision: float
    best_iou: float


def has_instances(item: Mapping[str, Any]) -> bool:
    """Whether labels are single objects, not kinds of tissue."""
    return str(item["label_kind"]).startswith("instance")


def fully_annotated(item: Mapping[str, Any]) -> bool:
    """Whether every object of an item is labelled, each by itself."""
    return has_instances(item) and not item.get("sparse_annotation")


def evaluate_everything(
    model: "EncodesAndDecodes", sample: Sample, *, group: str = ""
) -> ImageMatches:
    """Find everything in one image, with the model's own settings, and compare."""
    records, _ = find_everything(model, sample)
    return match_records(sample, records, group=group)


def find_everything(
    model: "EncodesAndDecodes", sample: Sample
) -> "tuple[list[MaskRecord], list[MaskRecord]]":
    """Ask the grid of points once; the generator's records, and those of looser suppression."""
    from napari_sam.core.automatic import collect, select
    from napari_sam.core.params import AutomaticParams
    from napari_sam.core.predictor import Predictor

    params = AutomaticParams()
    if isinstance(model, Predictor):
        params = AutomaticParams.for_model(model.spec)
    candidates = finish(collect(sample.picture, model, params, intensity="as_is"))
    proposals = select(candidates, params.changed(box_nms_thresh=NMS_THRESH))
    return select(candidates, params), best_proposals(proposals)


def match_records(
    sample: Sample, records: "Sequence[MaskRecord]", *, group: str = ""
) -> ImageMatches:
    """Compare records, and the label image that the plugin makes of them, with the truth."""
    from napari_sam.core.masks import records_to_labels

    height, width = sample.labels.shape
    found = records_to_labels(records, (height, width))
    return match_image(sample, records, found, group=group)


def match_image(
    sample: Sample, records: "Sequence[MaskRecord]", found: Any, *, group: str = ""
) -> ImageMatches:
    """Compare records, and the label image made of them, with the truth.

    Parameters
    ----------
    sample
        With its labels (H, W).
    records
        With scores; they may overlap.
    found
        (H, W) label image.
    group
        Row of the report.
    """
    ious = iou_table(sample.labels, found)
    by_record = record_ious(sample, records)
    return ImageMatches(
        group=group,
        sample=sample.name,
        counts=tuple(count_matches(ious, threshold) for threshold in THRESHOLDS),
        best_iou=tuple(by_record.max(1, initial=0.0).tolist()),
        ranking=rank(by_record, [record.score for record in records]),
    )


def record_ious(sample: Sample, records: "Sequence[MaskRecord]") -> np.ndarray:
    """IoU (true objects, records) of records that may overlap."""
    labels = np.unique(sample.labels[sample.labels > 0])
    sizes = np.bincount(sample.labels.ravel(), minlength=int(labels.max(initial=0)) + 1)
    table = np.zeros((len(labels), len(records)))
    for column, record in enumerate(records):
        inside = sample.labels[record.region][record.patch]
        shared = np.bincount(inside, minlength=len(sizes))[labels]
        table[:, column] = shared / (sizes[labels] + record.area - shared)
    return table


def summarise_everything(
    images: Iterable[ImageMatches], *, seed: int = 0
) -> list[EverythingSummary]:
    """One row for each group, by name."""
    by_group: dict[str, list[ImageMatches]] = {}
    for image in images:
        by_group.setdefault(image.group, []).append(image)
    return [_summarise(name, by_group[name], seed) for name in sorted(by_group, key=group_order)]


def _summarise(name: str, images: Sequence[ImageMatches], seed: int) -> EverythingSummary:
    totals = [sum((image.counts[i] for image in images), Counts()) for i in range(len(THRESHOLDS))]
    precision = average_precision([image.ranking for image in images])
    best = [iou for image in images for iou in image.best_iou]
    half = totals[0]
    return EverythingSummary(
        name=name,
        n_images=len(images),
        n_objects=len(best),
        f1=_estimate_f1(images, seed),
        f1_75=totals[THRESHOLDS.index(0.75)].f1,
        accuracy=half.accuracy,
        mean_accuracy=float(np.mean([counts.accuracy for counts in totals])),
        panoptic=half.panoptic,
        precision=precision[0],
        mean_precision=float(np.mean(precision)),
        best_iou=float(np.mean(best)) if best else float("nan"),
    )


def _f1(sums: Floats) -> Floats:
    hits, wrong = sums[..., 0], sums[..., 1]
    return np.where(hits + wrong, 2 * hits / np.maximum(2 * hits + wrong, 1), 1.0)


def _estimate_f1(images: Sequence[ImageMatches], seed: int) -> Estimate:
    """F1 at 0.5 of all images together; the interval by drawing whole images."""
    parts = [(i.counts[0].hits, i.counts[0].extra + i.counts[0].missed) for i in images]
    n = sum(len(image.best_iou) for image in images)
    return estimate(np.array(parts, np.float64), _f1, n, seed=seed)
