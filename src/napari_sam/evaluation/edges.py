"""Zero-shot edges: contours of all masks of a grid of points, against those that people have drawn.

Kirillov et al. 2023, section 7.2 and appendix D.2: a grid of 16 x 16 points with three masks each;
redundant masks go by non-maximum suppression of their boxes; Sobel's filter over each mask's
probabilities, kept where the mask's outline is; the maximum of all masks, stretched to 0 to 1, is
thinned. How edges are judged: ``contours.py``. Needs items whose manifest names the label images
of several people (``labels_all``). Beside it Sobel's filter of the picture itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam.core.masks import non_maximum_suppression
from napari_sam.core.prompts import Prompts
from napari_sam.errors import ImageError
from napari_sam.evaluation.contours import (
    Tally,
    partition_edges,
    score_edges,
    suppress_non_maxima,
    tally,
)
from napari_sam.evaluation.datasets import Sample, read_array
from napari_sam.evaluation.exams import Exam, Findings, Question, planes
from napari_sam.evaluation.groups import group_order
from napari_sam.evaluation.metrics import Floats, Mask
from napari_sam.evaluation.params import Protocol
from napari_sam.evaluation.sources import Item
from napari_sam.evaluation.tables import Section, make_table, row_head, row_name, show

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import MaskPrediction

SIDE = 16  # points along each side
BATCH = 32
NMS_THRESH = 0.7
SOBEL = "Sobel of the picture"
ABOUT = (
    "Edges of all masks of 16 x 16 points against those of several people, 33 thresholds, matched"
    " within 0.0075 of the diagonal. ODS: best F1 with one threshold for all images; OIS: with each"
    " image's best; AP: area under precision over recall; R50: recall at a precision of 0.5."
    " Brackets: 95 % interval by bootstrap over images."
)


@dataclass(frozen=True)
class EdgeResult:
    """How edges of one image fit; ``counts`` has a tally for each threshold."""

    group: str
    sample: str
    counts: tuple[tuple[int, ...], ...]


def edges_of_masks(model: "EncodesAndDecodes", sample: Sample) -> Floats:
    """Edge map (H, W), 0 to 1, thinned, of all masks that a grid of points brings."""
    height, width = sample.labels.shape
    embedding = model.encode(sample.picture, intensity="as_is")
    marks = (np.arange(SIDE) + 0.5) / SIDE
    points = np.stack(np.meshgrid(marks * height, marks * width, indexing="ij"), -1).reshape(-1, 2)
    answers = []
    for start in range(0, len(points), BATCH):
        part = points[start : start + BATCH, None]
        prompts = Prompts(points=part, point_labels=np.ones(part.shape[:2], np.int64))
        # -inf drops none; it says that this is a grid (no closer looks).
        answers.append(model.decode(embedding, prompts, least_score=-np.inf))
    strongest = np.zeros((height, width))
    for answer, index, candidate in _without_duplicates(answers):
        logits = answer.logits(index, candidate)
        strongest = np.maximum(strongest, _outline_strength(logits))
    return _stretch_and_thin(strongest)


def edges_of_picture(sample: Sample) -> Floats:
    """Edge map (H, W), 0 to 1, thinned, by Sobel's filter over the smoothed grey picture."""
    grey = ndimage.gaussian_filter(sample.picture.mean(2), 2.0)
    return _stretch_and_thin(_sobel(grey))


def people_of(sample: Sample) -> list[Mask]:
    """The edges that each person has drawn.

    Raises
    ------
    ImageError
        The label images have another size.
    """
    path = (sample.root or Path()) / sample.item["labels_all"]
    everyone = read_array(path)
    if everyone.ndim != 3 or everyone.shape[1:] != sample.labels.shape:
        raise ImageError(
            f"{path} has shape {everyone.shape}; wanted is (people, {sample.labels.shape[0]},"
            f" {sample.labels.shape[1]})."
        )
    return [partition_edges(person) for person in everyone]


def ask(model: "EncodesAndDecodes", question: Question) -> list[EdgeResult]:
    """Edges of the model's masks for one image."""
    return [_judge(edges_of_masks(model, question.sample), question)]


def ask_classical(question: Question) -> list[EdgeResult]:
    """Edges of the picture itself."""
    return [_judge(edges_of_picture(question.sample), question)]


def write_section(findings: Findings) -> Section:
    """The table of the protocol."""
    everyone = {**findings.by_model, SOBEL: findings.classical}
    head = [*row_head(list(everyone)), "images", "ODS", "OIS", "AP", "R50"]
    names = {r.group for found in everyone.values() for r in found}
    rows = []
    for name in sorted(names, key=group_order):
        for who, found in everyone.items():
            counts: list[tuple[Tally, ...]] = [r.counts for r in found if r.group == name]
            if counts:
                scores = score_edges(counts, seed=findings.params.seed)
                figures = (scores.ods, scores.ois, scores.ap, scores.r50)
                cells = [str(len(counts)), *map(show, figures)]
                rows.append([*row_name(name, who, list(everyone)), *cells])
    return Section(Protocol.EDGES.value, "Edges", (make_table(head, rows), ABOUT))


def _judge(edges: Floats, question: Question) -> EdgeResult:
    counts = tally(edges, people_of(question.sample))
    return EdgeResult(question.group, question.sample.name, counts)


def _without_duplicates(
    answers: "list[MaskPrediction]",
) -> "Iterator[tuple[MaskPrediction, int, int]]":
    """The masks that stay, by boxes and scores of the low-res logits."""
    places, boxes, scores = [], [], []
    for answer in answers:
        for index, candidate in np.ndindex(answer.scores.shape):
            mask = answer.low_res_logits[index, candidate] > 0
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                places.append((answer, index, candidate))
                boxes.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
                scores.append(answer.scores[index, candidate])
    kept = non_maximum_suppression(np.array(boxes), np.array(scores), iou_threshold=NMS_THRESH)
    yield from (places[k] for k in kept)


def _outline_strength(logits: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> Floats:
    """Sobel's filter of the probabilities where the mask's outline is, else 0."""
    mask = logits > 0
    outline = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask, border_value=1)
    probability = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -30, 30)))
    return np.where(outline, _sobel(probability), 0.0)


def _sobel(values: Floats) -> Floats:
    return np.asarray(np.hypot(ndimage.sobel(values, 0), ndimage.sobel(values, 1)))


def _stretch_and_thin(strength: Floats) -> Floats:
    low, high = float(strength.min()), float(strength.max())
    if high <= low:
        return np.zeros_like(strength)
    return suppress_non_maxima((strength - low) / (high - low))


def _has_several_people(item: Item) -> bool:
    return bool(item.get("labels_all"))


EXAM = Exam(
    wants=_has_several_people,
    samples=planes,
    ask=ask,
    result=EdgeResult,
    ask_classical=ask_classical,
    classical_result=EdgeResult,
    section=write_section,
)
