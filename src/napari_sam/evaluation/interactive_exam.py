"""The interactive protocol in a report: its section, and what classical methods are asked.

Knows results of objects; what is asked of a model is in ``interactive.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation import interactive_tables as tables
from napari_sam.evaluation.bars import check_bars
from napari_sam.evaluation.baselines import (
    BOX_BASELINES,
    CLICK_BASELINES,
    SLOW_BASELINES,
    ClassicalImage,
)
from napari_sam.evaluation.clicks import deepest_point, tight_box
from napari_sam.evaluation.exams import Exam, Findings, Question, planes
from napari_sam.evaluation.interactive import ObjectResult, choose_objects, evaluate_sample
from napari_sam.evaluation.metrics import iou
from napari_sam.evaluation.params import Protocol
from napari_sam.evaluation.summary import summarise
from napari_sam.evaluation.tables import Curves, Section, Table, bullets

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes


@dataclass(frozen=True)
class ClassicalResult:
    """IoU of classical methods by name, on the prompts of one object."""

    sample: str
    label: int
    ious: Mapping[str, float]


def ask_classical(question: Question) -> list[ClassicalResult]:
    """Ask every classical method about the objects of an image.

    The slow ones answer for the first ``question.walkers`` objects in the order of a fixed draw.
    """
    sample = question.sample
    labels = choose_objects(sample.labels, sample.name, question.params)
    image = ClassicalImage(sample.picture)
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    answered = []
    for label, place in zip(labels, order, strict=True):
        truth = sample.labels == label
        (y, x), box = deepest_point(truth), tight_box(truth)
        left_out = SLOW_BASELINES if place >= question.walkers else frozenset()
        by_click = {
            name: iou(method(image, y, x), truth)
            for name, method in CLICK_BASELINES.items()
            if name not in left_out
        }
        by_box = {
            name: iou(method(image, box), truth)
            for name, method in BOX_BASELINES.items()
            if name not in left_out
        }
        answered.append(ClassicalResult(sample.name, label, by_click | by_box))
    return answered


def with_baselines(
    results: Sequence[ObjectResult], classical: Sequence[ClassicalResult]
) -> list[ObjectResult]:
    """Results with what classical methods made of the same objects."""
    known = {(one.sample, one.label): one.ious for one in classical}
    return [replace(r, baselines=known.get((r.sample, r.label), {})) for r in results]


def write_section(findings: Findings) -> Section:
    """Tables, curves and bars of the protocol."""
    results = {
        model: with_baselines(found, findings.classical)
        for model, found in findings.by_model.items()
    }
    groups = {model: summarise(found, findings.origins) for model, found in results.items()}
    first = next(iter(groups.values()))
    checks = {model: check_bars(found) for model, found in groups.items()}
    parts: list[str | Table | Curves | Section] = [
        tables.render_groups(groups),
        tables.describe(findings.params),
        Section("reach", "Clicks to an IoU", (tables.render_reaches(groups), tables.REACHED)),
        Section("curves", "IoU over clicks", tuple(tables.render_curves(groups))),
        Section(
            "boxes",
            "Instance segmentation from given boxes",
            (tables.render_boxes(results), tables.BOXES),
        ),
        Section(
            "calibration", "Predicted IoU", (*tables.render_calibration(results), tables.CALIBRATED)
        ),
        Section(
            "classical", "Classical methods on the same prompts", (tables.render_baselines(first),)
        ),
    ]
    for model, found in checks.items():
        title = "Bars" if len(checks) == 1 else f"Bars, {model}"
        parts.append(Section("bars", title, (bullets(str(check) for check in found),)))
    return Section(Protocol.INTERACTIVE.value, "Mean IoU over objects", tuple(parts))


def ask(model: "EncodesAndDecodes", question: Question) -> list[ObjectResult]:
    """Ask the model about the objects of an image."""
    return evaluate_sample(model, question.sample, question.params, group=question.group)


EXAM = Exam(
    wants=lambda _: True,
    samples=planes,
    ask=ask,
    result=ObjectResult,
    ask_classical=ask_classical,
    classical_result=ClassicalResult,
    section=write_section,
)
