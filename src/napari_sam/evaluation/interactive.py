"""The interactive protocol: objects of labelled images, simulated prompts, IoU of the answers.

Kirillov et al. 2023, section 7.1 and appendix D.1: one click at the point deepest inside the
object, best of three masks by predicted IoU; the best of three by the truth ("oracle"); a tight box
and the single mask; up to ten corrective clicks, each deepest in the largest error, with the low-
res logits fed back and the single mask. Number of clicks to an IoU: Sofiiuk et al. 2021. IoU at the
image's own size, each object counts once. Objects alone are scored, so images with sparse
annotation may take part. Knows no file and no report.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.core.intensity import Intensity
from napari_sam.core.prompts import Prompts
from napari_sam.evaluation.clicks import Box, Click, first_click, next_click, tight_box
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.metrics import Mask, iou
from napari_sam.evaluation.params import EvaluationParams

if TYPE_CHECKING:
    from napari_sam.core.predictor import ImageEmbedding, MaskPrediction


class Segmenter(Protocol):
    """What is evaluated; :class:`~napari_sam.core.predictor.Predictor` is one."""

    def encode(self, image: ArrayLike, *, intensity: Intensity = ...) -> "ImageEmbedding":
        """Embed an image."""
        ...

    def decode(
        self, embedding: "ImageEmbedding", prompts: Prompts, *, multimask: bool = ...
    ) -> "MaskPrediction":
        """Answer prompts."""
        ...


@dataclass(frozen=True)
class ObjectResult:
    """IoU of one object under all prompts.

    Attributes
    ----------
    group
        Row of the report that it counts for.
    sample, label, area
        Image, label in it, and number of pixels.
    clicks
        IoU after 1, 2, ... clicks.
    oracle
        Best of the three candidates of the first click.
    box
        IoU of the single mask for the tight box.
    predicted, predicted_box
        What the model said its IoU would be, for each of ``clicks`` and for ``box``.
    baselines
        IoU by name of classical methods on the same prompts; a slow one may lack.
    """

    group: str
    sample: str
    label: int
    area: int
    clicks: tuple[float, ...]
    oracle: float
    box: float
    predicted: tuple[float, ...]
    predicted_box: float
    baselines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sitting:
    """Clicks on one object and the answers to them.

    Attributes
    ----------
    clicks
        In order; fewer than the rounds where nothing was left to correct.
    masks, scores
        Chosen mask (H, W) and its predicted IoU after each round.
    candidates
        The three masks of the first round.
    """

    clicks: tuple[Click, ...]
    masks: tuple[Mask, ...]
    scores: tuple[float, ...]
    candidates: tuple[Mask, ...]


def choose_objects(
    labels: NDArray[np.integer], name: str, params: EvaluationParams
) -> tuple[int, ...]:
    """Choose labels to ask about, ascending: those large enough, a draw if too many."""
    areas = np.bincount(labels.ravel())
    large = np.flatnonzero(areas >= params.least_area)
    large = large[large > 0]
    if len(large) > params.objects_per_image:
        rng = np.random.default_rng([params.seed, zlib.crc32(name.encode())])
        large = np.sort(rng.choice(large, params.objects_per_image, replace=False))
    return tuple(int(label) for label in large)


def evaluate_sample(
    model: Segmenter, sample: Sample, params: EvaluationParams, *, group: str = ""
) -> list[ObjectResult]:
    """Ask the model about every chosen object of one image."""
    labels = choose_objects(sample.labels, sample.name, params)
    if not labels:
        return []
    embedding = model.encode(sample.picture, intensity="as_is")
    results = []
    for start in range(0, len(labels), params.chunk):
        part = labels[start : start + params.chunk]
        truths = [sample.labels == label for label in part]
        sittings = play_clicks(model, embedding, truths, rounds=params.clicks)
        boxed = answer_boxes(model, embedding, [tight_box(truth) for truth in truths])
        for label, truth, sitting, (mask, score) in zip(part, truths, sittings, boxed, strict=True):
            results.append(
                ObjectResult(
                    group=group,
                    sample=sample.name,
                    label=label,
                    area=int(np.count_nonzero(truth)),
                    clicks=tuple(iou(answer, truth) for answer in sitting.masks),
                    oracle=max(iou(answer, truth) for answer in sitting.candidates),
                    box=iou(mask, truth),
                    predicted=sitting.scores,
                    predicted_box=score,
                )
            )
    return results


def play_clicks(
    model: Segmenter, embedding: "ImageEmbedding", truths: Sequence[Mask], *, rounds: int
) -> list[Sitting]:
    """Click on B objects of one image, all at once: first inside, then where the mask is wrong.

    An annotator who sees no error stops: that object keeps its mask for the rounds left.

    Parameters
    ----------
    model
        What answers.
    embedding
        Of the image.
    truths
        B masks (H, W), none empty.
    rounds
        Number of clicks.
    """
    clicks = [[first_click(truth)] for truth in truths]
    answer = model.decode(embedding, _click_prompts(clicks), multimask=True)
    best = answer.best()
    logits = [answer.low_res_logits[i, best[i]] for i in range(len(truths))]
    scores = [[float(answer.scores[i, best[i]])] for i in range(len(truths))]
    candidates = [
        tuple(answer.mask(i, j) for j in range(answer.scores.shape[1])) for i in range(len(truths))
    ]
    masks = [[candidates[i][best[i]]] for i in range(len(truths))]
    for _ in range(rounds - 1):
        wrong = []
        for i, truth in enumerate(truths):
            click = next_click(masks[i][-1], truth)
            if click is None:
                masks[i].append(masks[i][-1])
                scores[i].append(scores[i][-1])
            else:
                clicks[i].append(click)
                wrong.append(i)
        if wrong:
            fed_back = np.stack([logits[i] for i in wrong])
            prompts = _click_prompts([clicks[i] for i in wrong], fed_back)
            answer = model.decode(embedding, prompts, multimask=False)
        for row, i in enumerate(wrong):
            logits[i] = answer.low_res_logits[row, 0]
            masks[i].append(answer.mask(row, 0))
            scores[i].append(float(answer.scores[row, 0]))
    return [
        Sitting(tuple(clicks[i]), tuple(masks[i]), tuple(scores[i]), candidates[i])
        for i in range(len(truths))
    ]


def answer_boxes(
    model: Segmenter, embedding: "ImageEmbedding", boxes: Sequence[Box]
) -> list[tuple[Mask, float]]:
    """Ask for the single mask (H, W) of each box, with its predicted IoU."""
    answer = model.decode(embedding, Prompts(boxes=boxes), multimask=False)
    return [(answer.mask(i, 0), float(answer.scores[i, 0])) for i in range(len(boxes))]


def _click_prompts(
    clicks: Sequence[Sequence[Click]], mask_logits: NDArray[np.float32] | None = None
) -> Prompts:
    return Prompts(
        points=[[(click.y, click.x) for click in row] for row in clicks],
        point_labels=[[int(click.positive) for click in row] for row in clicks],
        mask_logits=mask_logits,
    )
