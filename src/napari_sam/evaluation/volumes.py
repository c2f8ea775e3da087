"""Objects of stacks, asked plane by plane: Dice and IoU of the whole object.

As in MedSAM (Ma et al. 2024): in every plane that an object passes, its tight box is given and the
single mask taken; the answers of all planes together are the object. The same with one click a
plane, deepest inside, best of three masks by predicted IoU. One intensity range for the whole
stack. Counts are of voxels; a row is the mean over the objects of a volume, since "per-volume"
figures of single organs are the case of one object. Beside it the ellipse in each box.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.core.prompts import Prompts
from napari_sam.evaluation.baselines import ClassicalImage, ellipse_in_box
from napari_sam.evaluation.clicks import first_click, tight_box
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.exams import Exam, Findings, Question
from napari_sam.evaluation.groups import group_order
from napari_sam.evaluation.interactive import answer_boxes, choose_objects
from napari_sam.evaluation.metrics import Estimate, Mask, dice_of, estimate_mean
from napari_sam.evaluation.params import EvaluationParams, Protocol
from napari_sam.evaluation.sources import Item, Source
from napari_sam.evaluation.tables import Section, make_table, row_head, row_name, show

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import ImageEmbedding

BOX, CLICK, ELLIPSE = "box", "click", "ellipse"
ABOUT = (
    "Whole objects of stacks, asked anew in every plane they pass: a tight box or a click in each."
    " Mean over the objects of a volume; ellipse: the ellipse in each box."
)


@dataclass(frozen=True)
class VolumeResult:
    """IoU of one object of a stack, by kind of prompt.

    Attributes
    ----------
    group, sample, label
        Row of the report, stack, object.
    n_planes
        That the object passes.
    ious
        Prompt -> IoU in voxels.
    """

    group: str
    sample: str
    label: int
    n_planes: int
    ious: Mapping[str, float]


@dataclass
class _Overlap:
    """Voxels of truth and answer, added up over planes."""

    shared: int = 0
    union: int = 0

    def add(self, answer: Mask, truth: Mask) -> None:
        self.shared += int(np.count_nonzero(answer & truth))
        self.union += int(np.count_nonzero(answer | truth))


def ask(model: "EncodesAndDecodes", question: Question) -> list[VolumeResult]:
    """Ask the model about the objects of a stack, plane by plane."""
    found: dict[int, dict[str, _Overlap]] = {}
    planes: dict[int, int] = {}
    for picture, truths in _planes(question.sample, question.params):
        embedding = model.encode(picture, intensity="as_is")
        for labels in _chunks(list(truths), question.params.chunk):
            masks = [truths[label] for label in labels]
            boxed = [mask for mask, _ in answer_boxes(model, embedding, [*map(tight_box, masks)])]
            clicked = _answer_clicks(model, embedding, masks)
            for label, truth, by_box, by_click in zip(labels, masks, boxed, clicked, strict=True):
                overlaps = found.setdefault(label, {BOX: _Overlap(), CLICK: _Overlap()})
                overlaps[BOX].add(by_box, truth)
                overlaps[CLICK].add(by_click, truth)
                planes[label] = planes.get(label, 0) + 1
    return _results(question, found, planes)


def ask_classical(question: Question) -> list[VolumeResult]:
    """Fill the ellipse of each box."""
    found: dict[int, dict[str, _Overlap]] = {}
    planes: dict[int, int] = {}
    for picture, truths in _planes(question.sample, question.params):
        image = ClassicalImage(picture)
        for label, truth in truths.items():
            overlap = found.setdefault(label, {ELLIPSE: _Overlap()})[ELLIPSE]
            overlap.add(ellipse_in_box(image, tight_box(truth)), truth)
            planes[label] = planes.get(label, 0) + 1
    return _results(question, found, planes)


def write_section(findings: Findings) -> Section:
    """The table of the protocol."""
    models = list(findings.by_model)
    head = [*row_head(models), "volumes", "objects", "Dice (box)", "IoU (box)", "Dice (click)"]
    head += ["IoU (click)", "IoU (ellipse)"]
    names = {r.group for found in findings.by_model.values() for r in found}
    rows = []
    for name in sorted(names, key=group_order):
        theirs = [result for result in findings.classical if result.group == name]
        for model, found in findings.by_model.items():
            mine = [result for result in found if result.group == name]
            counts = [str(len({r.sample for r in mine})), str(len(mine))]
            figures = [
                _mean(mine, BOX, dice=True), _mean(mine, BOX), _mean(mine, CLICK, dice=True),
                _mean(mine, CLICK), _mean(theirs, ELLIPSE),
            ]  # fmt: skip
            rows.append([*row_name(name, model, models), *counts, *map(show, figures)])
    table = make_table(head, rows)
    return Section(Protocol.VOLUMES.value, "Objects of volumes", (table, ABOUT))


def _planes(
    sample: Sample, params: EvaluationParams
) -> "Iterator[tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], dict[int, Mask]]]":
    """Pictures, and in each the chosen objects that pass it."""
    chosen = choose_objects(sample.labels, sample.name, params)
    for picture, labels in zip(sample.picture, sample.labels, strict=True):
        here = np.intersect1d(labels, chosen)
        if len(here):
            yield picture, {int(label): labels == label for label in here}


def _answer_clicks(
    model: "EncodesAndDecodes", embedding: "ImageEmbedding", truths: Sequence[Mask]
) -> list[Mask]:
    clicks = [first_click(truth) for truth in truths]
    points = [[(click.y, click.x)] for click in clicks]
    prompts = Prompts(points=points, point_labels=[[1]] * len(points))
    answer = model.decode(embedding, prompts, multimask=True)
    return [answer.mask(index) for index in range(len(points))]


def _chunks(labels: list[int], size: int) -> Iterator[list[int]]:
    yield from (labels[start : start + size] for start in range(0, len(labels), size))


def _results(
    question: Question, found: Mapping[int, Mapping[str, _Overlap]], planes: Mapping[int, int]
) -> list[VolumeResult]:
    return [
        VolumeResult(
            question.group, question.sample.name, label, planes[label],
            {name: one.shared / one.union for name, one in overlaps.items()},
        )
        for label, overlaps in sorted(found.items())
    ]  # fmt: skip


def _mean(results: Sequence[VolumeResult], prompt: str, *, dice: bool = False) -> Estimate | None:
    if not results:
        return None
    ious = [result.ious[prompt] for result in results]
    figures = [dice_of(iou) for iou in ious] if dice else ious
    return estimate_mean(figures, [result.sample for result in results])


def _is_volume(item: Item) -> bool:
    return "Z" in (item.get("label_axes") or "") and "T" not in item["axes"]


def _volume(source: Source, item: Item, params: EvaluationParams) -> Iterator[Sample]:
    sample = source.volume(item)
    if len(sample.picture) > 1:
        yield sample


EXAM = Exam(
    wants=_is_volume,
    samples=_volume,
    ask=ask,
    result=VolumeResult,
    ask_classical=ask_classical,
    classical_result=VolumeResult,
    section=write_section,
)
