"""The automatic protocol in a report: matches, proposals, and classical label images.

Knows summaries; what is asked of a model is in ``everything.py``, recall in ``proposals.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.bars import check_f1
from napari_sam.evaluation.baselines import ClassicalImage, Labels
from napari_sam.evaluation.everything import (
    EverythingSummary,
    ImageMatches,
    find_everything,
    fully_annotated,
    has_instances,
    match_records,
    record_ious,
    summarise_everything,
)
from napari_sam.evaluation.exams import Exam, Findings, Question, planes
from napari_sam.evaluation.groups import group_order
from napari_sam.evaluation.matching import Counts, count_matches, iou_table
from napari_sam.evaluation.params import Protocol
from napari_sam.evaluation.proposals import Recalled, average_recall
from napari_sam.evaluation.summary import MANUAL
from napari_sam.evaluation.tables import (
    NOTHING,
    Section,
    Table,
    bullets,
    make_table,
    number,
    row_head,
    row_name,
    show,
)

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes

METHODS = ("Otsu + component", "watershed")
MATCHED = (
    "A grid of points, the model's own thresholds, smaller objects on top; images all of whose"
    " objects are annotated. F1: 2 hits / (found + true objects) at that IoU. SA: hits / (hits +"
    " extra + missed); mSA: its mean over IoU 0.5, 0.55, ... 0.95. PQ: panoptic quality at 0.5. AP:"
    " area under precision over recall of the scored masks at 0.5, and its mean over the same IoUs."
    " best IoU: mean over true objects of the mask that fits best. Counts of all images of a group"
    " together; brackets: 95 % interval by bootstrap over images. The last columns: F1@0.5 of"
    " classical label images of the same pictures; each image's better polarity is taken."
)
PROPOSED = (
    "AR@1000: recall of the best thousand masks, mean over IoU 0.5 to 0.95; S, M, L: objects of up"
    " to 32 x 32 pixels, up to 96 x 96, larger. Images annotated in part are among them."
)


@dataclass(frozen=True)
class AutomaticResult:
    """What was found in one image.

    Attributes
    ----------
    group, sample
        Row of the report; name of the image.
    matches
        One, or none where the image is annotated in part.
    recalled
        How well proposals fit.
    """

    group: str
    sample: str
    matches: tuple[ImageMatches, ...]
    recalled: Recalled


@dataclass(frozen=True)
class ClassicalCounts:
    """Matches at IoU 0.5 of a method's label image."""

    group: str
    sample: str
    method: str
    counts: Counts


def ask(model: "EncodesAndDecodes", question: Question) -> list[AutomaticResult]:
    """Find everything in an image."""
    sample = question.sample
    records, proposals = find_everything(model, sample)
    matches = (match_records(sample, records, group=question.group),)
    areas = np.bincount(sample.labels.ravel())[1:]
    recalled = Recalled(
        tuple(int(area) for area in areas if area),
        tuple(record_ious(sample, proposals).max(1, initial=0.0).tolist()),
        len(proposals),
    )
    known = matches if fully_annotated(sample.item) else ()
    return [AutomaticResult(question.group, sample.name, known, recalled)]


def ask_classical(question: Question) -> list[ClassicalCounts]:
    """Label images by Otsu's threshold, and cut at the necks; each in its better polarity."""
    sample = question.sample
    if not fully_annotated(sample.item):
        return []
    image, least = ClassicalImage(sample.picture), question.params.least_area
    found = []
    for method, both in zip(METHODS, (image.components, image.basins), strict=True):
        tables = [iou_table(sample.labels, _large(side, least)) for side in both]
        counts = max((count_matches(table, 0.5) for table in tables), key=lambda c: c.f1)
        found.append(ClassicalCounts(question.group, sample.name, method, counts))
    return found


def write_section(findings: Findings) -> Section:
    """Tables and bars of the protocol."""
    matches = {
        model: summarise_everything(m for result in found for m in result.matches)
        for model, found in findings.by_model.items()
    }
    manual = {
        result.group
        for found in findings.by_model.values()
        for result in found
        if findings.origins[result.sample] == MANUAL
    }
    checks = {
        model: check_f1((row.name, row.f1.mean) for row in rows) for model, rows in matches.items()
    }
    parts: list[str | Table | Section] = [
        _render_matches(matches, findings.classical, manual),
        MATCHED,
        Section("proposals", "Object proposals", (_render_recall(findings), PROPOSED)),
    ]
    for model, found in checks.items():
        if found:
            title = "Bars" if len(checks) == 1 else f"Bars, {model}"
            parts.append(Section("bars", title, (bullets(str(check) for check in found),)))
    return Section(Protocol.AUTOMATIC.value, "Everything, without prompts", tuple(parts))


def _render_matches(
    matches: Mapping[str, Sequence[EverythingSummary]],
    classical: Sequence[ClassicalCounts],
    manual: set[str],
) -> Table:
    head = [*row_head(list(matches)), "images", "objects", "F1@0.5", "F1@0.75", "SA@0.5", "mSA"]
    head += ["PQ", "AP@0.5", "AP", "best IoU", *METHODS]
    names = sorted({row.name for rows in matches.values() for row in rows}, key=group_order)
    cells = []
    for name in names:
        for model, rows in matches.items():
            for row in rows:
                if row.name == name:
                    marked = name + ("" if name in manual else " †")
                    figures = [row.f1_75, row.accuracy, row.mean_accuracy, row.panoptic]
                    figures += [row.precision, row.mean_precision, row.best_iou]
                    figures += [_f1_of(classical, name, method) for method in METHODS]
                    cells.append([
                        *row_name(marked, model, list(matches)), str(row.n_images),
                        str(row.n_objects), show(row.f1), *map(number, figures),
                    ])  # fmt: skip
    return make_table(head, cells)


def _f1_of(classical: Sequence[ClassicalCounts], group: str, method: str) -> float:
    counts = [one.counts for one in classical if (one.group, one.method) == (group, method)]
    return sum(counts, Counts()).f1 if counts else float("nan")


def _render_recall(findings: Findings) -> Table:
    models = list(findings.by_model)
    head = [*row_head(models), "images", "masks an image", "AR@1000", "AR S (n)", "AR M (n)"]
    rows = []
    for name, model, images in _by_group(findings):
        found = average_recall([image.recalled for image in images], seed=findings.params.seed)
        sizes = [
            f"{number(recall)} ({n})" if n else NOTHING
            for recall, n in zip(found.by_size, found.counts, strict=True)
        ]
        count = [str(len(images)), f"{found.per_image:.0f}"]
        rows.append([*row_name(name, model, models), *count, show(found.everything), *sizes])
    return make_table([*head, "AR L (n)"], rows)


def _by_group(findings: Findings) -> Iterator[tuple[str, str, list[AutomaticResult]]]:
    names = {r.group for found in findings.by_model.values() for r in found}
    for name in sorted(names, key=group_order):
        for model, found in findings.by_model.items():
            images = [result for result in found if result.group == name]
            if images:
                yield name, model, images


def _large(labels: Labels, least: int) -> Labels:
    """Without pieces of fewer pixels, as anybody would do who counts them."""
    areas = np.bincount(labels.ravel())
    return np.where(areas[labels] >= least, labels, 0)


EXAM = Exam(
    wants=has_instances,
    samples=planes,
    ask=ask,
    result=AutomaticResult,
    ask_classical=ask_classical,
    classical_result=ClassicalCounts,
    section=write_section,
)
