"""The tables and curves of the interactive protocol. Knows summaries; computes no mask."""

from collections.abc import Iterator, Mapping, Sequence

from napari_sam.evaluation.baselines import BOX_BASELINES, CLICK_BASELINES, SLOW_BASELINES
from napari_sam.evaluation.calibration import Calibration, answers_of, calibrate
from napari_sam.evaluation.given_boxes import score_boxes
from napari_sam.evaluation.groups import BOX, CLICK, COLUMNS, group_order
from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.summary import MANUAL, GroupSummary, Rival
from napari_sam.evaluation.tables import (
    NOTHING,
    Curves,
    Table,
    make_table,
    number,
    row_head,
    row_name,
    show,
)

Groups = Mapping[str, Sequence[GroupSummary]]

BOXES = (
    "AP: area under precision over recall of masks for the true boxes, ranked by predicted IoU,"
    " mean over IoU 0.5 to 0.95; S, M, L: objects of up to 32 x 32 pixels, up to 96 x 96, larger."
)
CALIBRATED = (
    "All answers of all rounds and boxes. off: mean |predicted IoU - IoU|; ECE: expected"
    " calibration error over ten bins. The second table has the bins, all groups together."
)
REACHED = (
    "Mean number of clicks to an IoU of 0.8 and of 0.9, where an object that never gets there"
    " counts with all clicks that were made; never: share of these."
)


def _rows(groups: Groups) -> Iterator[tuple[tuple[str, ...], GroupSummary]]:
    """Every group of every model, group by group; † marks truth that was not made by hand."""
    names = sorted({g.name for found in groups.values() for g in found}, key=group_order)
    for name in names:
        for model, found in groups.items():
            for group in found:
                if group.name == name:
                    marked = name + ("" if group.origin == MANUAL else " †")
                    yield row_name(marked, model, list(groups)), group


def render_groups(groups: Groups) -> Table:
    """The model, and the best classical method for a click and for a box."""
    head = [*row_head(list(groups)), "images", "objects", *COLUMNS]
    head += ["best click baseline", "best box baseline", "off (click)", "off (box)"]
    rows = [
        [
            *name,
            str(group.n_images),
            str(group.n_objects),
            *(show(group.columns.get(c), interval=c in (CLICK, BOX)) for c in COLUMNS),
            _best(group.click_rivals, group.n_objects),
            _best(group.box_rivals, group.n_objects),
            f"{group.click_error.mean:.3f}",
            f"{group.box_error.mean:.3f}",
        ]
        for name, group in _rows(groups)
    ]
    return make_table(head, rows)


def render_reaches(groups: Groups) -> Table:
    """Clicks to each IoU, and the share of objects that never get there."""
    first = next(iter(groups.values()))[0]
    head = [*row_head(list(groups))]
    for reach in first.reaches:
        head += [f"clicks to {reach.iou:g}", "never"]
    rows = [
        [
            *name,
            *(c for reach in group.reaches for c in (show(reach.clicks), f"{reach.never:.0%}")),
        ]
        for name, group in _rows(groups)
    ]
    return make_table(head, rows)


def render_curves(groups: Groups) -> Iterator[Curves]:
    """One diagram a model."""
    for model, found in groups.items():
        rounds = min(len(group.curve) for group in found)
        name = "clicks" if len(groups) == 1 else f"clicks, {model}"
        lines = {group.name: group.curve[:rounds] for group in found}
        yield Curves(name, "mean IoU", tuple(range(1, rounds + 1)), lines)


def render_boxes(results: Mapping[str, Sequence[ObjectResult]]) -> Table:
    """Average precision of the masks of true boxes."""
    head = [*row_head(list(results)), "AP", "AP@0.5", "AP@0.75", "AP S (n)", "AP M (n)", "AP L (n)"]
    rows = []
    for name, members in _members(results):
        found = score_boxes(members)
        sizes = [
            f"{number(ap)} ({n})" if n else NOTHING
            for ap, n in zip(found.by_size, found.counts, strict=True)
        ]
        rows.append([*name, show(found.ap), number(found.ap_50), number(found.ap_75), *sizes])
    return make_table(head, rows)


def _members(
    results: Mapping[str, Sequence[ObjectResult]],
) -> Iterator[tuple[tuple[str, ...], list[ObjectResult]]]:
    names = sorted({r.group for found in results.values() for r in found}, key=group_order)
    for name in names:
        for model, found in results.items():
            members = [result for result in found if result.group == name]
            if members:
                yield row_name(name, model, list(results)), members


def render_calibration(results: Mapping[str, Sequence[ObjectResult]]) -> Iterator[Table]:
    """How far off each group is, then each model's bins."""
    head = [*row_head(list(results)), "answers", "off", "ECE"]
    rows = []
    for name, members in _members(results):
        found = calibrate(answers_of(members))
        rows.append([*name, str(found.off.n), show(found.off), show(found.ece)])
    yield make_table(head, rows)
    for model, answered in results.items():
        title = "predicted" if len(results) == 1 else f"predicted, {model}"
        yield _render_bins(title, calibrate(answers_of(answered)))


def _render_bins(title: str, found: Calibration) -> Table:
    rows = [
        [f"{b.low:.1f} to {b.high:.1f}", str(b.n), number(b.predicted), number(b.true)]
        for b in found.bins
    ]
    return make_table([title, "answers", "mean predicted", "mean IoU"], rows)


def render_baselines(groups: Sequence[GroupSummary]) -> Table:
    """One row a group, one column a method."""
    methods = [*CLICK_BASELINES, *BOX_BASELINES]
    rows = []
    for group in groups:
        found = {rival.name: rival.iou for rival in (*group.click_rivals, *group.box_rivals)}
        cells = [
            f"{found[m].mean:.3f}" + (f" (n {found[m].n})" if m in SLOW_BASELINES else "")
            if m in found
            else NOTHING
            for m in methods
        ]
        rows.append([group.name, *cells])
    return make_table(["group", *methods], rows)


def _best(rivals: Sequence[Rival], n_objects: int) -> str:
    if not rivals:
        return NOTHING
    best = rivals[0]
    subset = "" if best.iou.n == n_objects else f" (n {best.iou.n})"
    return f"{best.iou.mean:.3f} {best.name}{subset}"


def describe(params: EvaluationParams) -> str:
    """Say how the figures were made."""
    return (
        f"Objects of at least {params.least_area} pixels, at most {params.objects_per_image} of an"
        f" image (drawn with seed {params.seed}), at most {params.planes_per_stack} planes of a"
        " stack; IoU at the image's own size. 1 click: at the point deepest inside the object, best"
        " of three masks by predicted IoU; oracle: best of the three by the truth; more clicks:"
        " each next one deepest in the largest error, mask fed back; box: tight, single mask."
        " Brackets: 95 % interval by bootstrap over images. off: mean |predicted IoU - IoU|. Random"
        f" walkers answer for at most {params.walker_objects} objects of a group. † ground truth"
        " not, or not surely, made by hand."
    )
