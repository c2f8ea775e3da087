"""Scribbles that people have drawn, as prompts: IoU of the answer to each of them.

MedScribble (Wong et al. 2024): several people scribbled on one object of an image, inside it
(positive) and beside it (negative). The positive scribbles alone, and both together, are given to
the model at once, by the dock's rule (``core.strokes``). The random walker (Grady 2006)
takes both kinds of strokes themselves as its seeds. Intervals by bootstrap over images; the people
of one image are alike. Knows masks and files of strokes; no report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.core.prompts import Prompts
from napari_sam.core.strokes import LEAST_STEP, fed_back, spread
from napari_sam.errors import ImageError
from napari_sam.evaluation.baselines import ClassicalImage, walk_from_seeds
from napari_sam.evaluation.clicks import first_click
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.exams import Exam, Findings, Question, planes
from napari_sam.evaluation.groups import group_order
from napari_sam.evaluation.metrics import Estimate, Mask, estimate_mean, iou
from napari_sam.evaluation.params import Protocol
from napari_sam.evaluation.sources import Item
from napari_sam.evaluation.tables import Section, make_table, row_head, row_name, show

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes

ABOUT = (
    "Each scribble of each person is one answer. inside: the strokes on the object as points; both:"
    " also those beside it; 1 click: at the deepest point of the same objects; random walker: the"
    " strokes themselves against each other. Brackets: 95 % interval by bootstrap over images."
)


@dataclass(frozen=True)
class ScribbleResult:
    """IoU for the scribbles of one person.

    Attributes
    ----------
    group, sample, person
        Row of the report, image, and number of the person.
    inside, both, click
        For the positive strokes, for all strokes, and for one click on the same object.
    """

    group: str
    sample: str
    person: int
    inside: float
    both: float
    click: float


@dataclass(frozen=True)
class WalkedResult:
    """IoU of the random walker between the strokes of one person."""

    group: str
    sample: str
    person: int
    both: float


@dataclass(frozen=True, eq=False)
class Strokes:
    """What one person drew: masks (H, W) of strokes inside and beside the object."""

    positive: Mask
    negative: Mask


def read_strokes(sample: Sample) -> list[Strokes]:
    """Read an image's strokes, person by person; people who drew nothing inside are left out.

    Raises
    ------
    ImageError
        The file cannot be read, or its size is another one.
    """
    path = (sample.root or Path()) / sample.item["scribbles"]
    try:
        with np.load(path) as file:
            positive, negative = (file[name].astype(bool) for name in ("positive", "negative"))
    except (OSError, KeyError, ValueError) as error:
        raise ImageError(f"{path} has no readable scribbles: {error}") from error
    if positive.shape[1:] != sample.labels.shape or positive.shape != negative.shape:
        raise ImageError(
            f"the scribbles in {path} have shape {positive.shape} and {negative.shape}; wanted is"
            f" (people, {sample.labels.shape[0]}, {sample.labels.shape[1]})."
        )
    return [Strokes(*pair) for pair in zip(positive, negative, strict=True) if pair[0].any()]


def stroke_points(stroke: Mask) -> list[tuple[float, float]]:
    """Points (y, x) on a stroke (H, W), as the dock takes them; none of an empty one."""
    pixels = np.argwhere(stroke)
    if not len(pixels):
        return []
    step = max(stroke.shape) * LEAST_STEP
    return [(y, x) for y, x in spread(pixels, least_distance=step).tolist()]


def ask(model: "EncodesAndDecodes", question: Question) -> list[ScribbleResult]:
    """Ask the model about the object of an image, scribble by scribble."""
    sample = question.sample
    truth, people = sample.labels > 0, read_strokes(sample)
    embedding = model.encode(sample.picture, intensity="as_is")

    def answer(points: Sequence[Any], labels: Sequence[int]) -> float:
        prompts = Prompts(points=[points], point_labels=[labels])
        alone = len(points) == 1
        found = model.decode(embedding, prompts, multimask=alone)
        if not alone:
            again = fed_back(prompts, found.low_res_logits[:, 0])
            found = model.decode(embedding, again, multimask=False)
        return iou(found.mask(0), truth)

    y, x, _ = first_click(truth)
    click = answer([(y, x)], [1])
    results = []
    for person, strokes in enumerate(people):
        inside, beside = stroke_points(strokes.positive), stroke_points(strokes.negative)
        ones, both = [1] * len(inside), [1] * len(inside) + [0] * len(beside)
        results.append(
            ScribbleResult(
                question.group, sample.name, person, answer(inside, ones),
                answer(inside + beside, both), click,
            )
        )  # fmt: skip
    return results


def ask_classical(question: Question) -> list[WalkedResult]:
    """Let the random walker decide between the strokes."""
    sample = question.sample
    image, truth = ClassicalImage(sample.picture), sample.labels > 0
    return [
        WalkedResult(
            question.group, sample.name, person,
            iou(walk_from_seeds(image, strokes.positive, strokes.negative), truth),
        )
        for person, strokes in enumerate(read_strokes(sample))
    ]  # fmt: skip


def write_section(findings: Findings) -> Section:
    """The table of the protocol."""
    models = list(findings.by_model)
    head = [*row_head(models), "images", "scribbles", "inside", "both", "1 click", "random walker"]
    names = {r.group for found in findings.by_model.values() for r in found}
    rows = []
    for name in sorted(names, key=group_order):
        walked = [result for result in findings.classical if result.group == name]
        for model, found in findings.by_model.items():
            mine = [result for result in found if result.group == name]
            columns = [_mean(mine, field) for field in ("inside", "both", "click")]
            counts = [str(len({r.sample for r in mine})), str(len(mine))]
            figures = [show(estimate) for estimate in (*columns, _mean(walked, "both"))]
            rows.append([*row_name(name, model, models), *counts, *figures])
    table = make_table(head, rows)
    return Section(Protocol.SCRIBBLES.value, "Scribbles of people", (table, ABOUT))


def _mean(results: Sequence[Any], column: str) -> Estimate | None:
    values = [getattr(result, column) for result in results]
    return estimate_mean(values, [result.sample for result in results]) if values else None


def _has_scribbles(item: Item) -> bool:
    return bool(item.get("scribbles"))


EXAM = Exam(
    wants=_has_scribbles,
    samples=planes,
    ask=ask,
    result=ScribbleResult,
    ask_classical=ask_classical,
    classical_result=WalkedResult,
    section=write_section,
)
