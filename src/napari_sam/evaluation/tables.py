"""A report as Markdown for people. Knows summaries; computes nothing."""

from collections.abc import Iterable, Mapping, Sequence

from napari_sam.evaluation.baselines import BOX_BASELINES, CLICK_BASELINES, SLOW_BASELINES
from napari_sam.evaluation.everything import EverythingSummary
from napari_sam.evaluation.groups import BOX, CLICK, COLUMNS
from napari_sam.evaluation.metrics import Estimate
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.summary import MANUAL, Check, GroupSummary, Rival

NOTHING = "-"
AUTOMATIC = (
    "A grid of points, the model's own thresholds, smaller objects on top; images all of whose"
    " objects are annotated. F1: 2 hits / (found + true objects) at that IoU. SA: hits / (hits +"
    " extra + missed); mSA: its mean over IoU 0.5, 0.55, ... 0.95. PQ: panoptic quality at 0.5. AP:"
    " area under precision over recall of the scored masks at 0.5, and its mean over the same IoUs."
    " best IoU: mean over true objects of the mask that fits best. Counts of all images of a group"
    " together."
)


def render_report(
    groups: Sequence[GroupSummary],
    checks: Sequence[Check],
    provenance: Mapping[str, object],
    params: EvaluationParams,
    *,
    automatic: Sequence[EverythingSummary] = (),
) -> str:
    """Write the whole report: the model's table, the baselines', the bars and the provenance."""
    parts = []
    if groups:
        parts += [
            "## Mean IoU over objects",
            render_groups(groups),
            render_protocol(params),
            "## Classical methods on the same prompts",
            render_baselines(groups),
        ]
    if automatic:
        parts += ["## Everything, without prompts", render_automatic(automatic), AUTOMATIC]
    if checks:
        parts += ["## Bars", render_checks(checks)]
    parts += ["## Provenance", _lines(f"{name}: {value}" for name, value in provenance.items())]
    return "\n\n".join(parts) + "\n"


def render_groups(groups: Sequence[GroupSummary]) -> str:
    """Write one row a group: the model, and the best classical method for a click and for a box."""
    head = ["group", "images", "objects", *COLUMNS]
    head += ["best click baseline", "best box baseline", "off (click)", "off (box)"]
    rows = [
        [
            group.name + ("" if group.origin == MANUAL else " †"),
            str(group.n_images),
            str(group.n_objects),
            *(
                _estimate(group.columns.get(column), interval=column in (CLICK, BOX))
                for column in COLUMNS
            ),
            _best(group.click_rivals, group.n_objects),
            _best(group.box_rivals, group.n_objects),
            f"{group.click_error.mean:.3f}",
            f"{group.box_error.mean:.3f}",
        ]
        for group in groups
    ]
    return _table(head, rows)


def render_baselines(groups: Sequence[GroupSummary]) -> str:
    """Write one row a group, one column a method."""
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
    return _table(["group", *methods], rows)


def render_automatic(rows: Sequence[EverythingSummary]) -> str:
    """Write one row a group of the automatic protocol."""
    head = ["group", "images", "objects", "F1@0.5", "F1@0.75", "SA@0.5", "mSA", "PQ"]
    head += ["AP@0.5", "AP", "best IoU"]
    cells = [
        [
            row.name,
            str(row.n_images),
            str(row.n_objects),
            _estimate(row.f1, interval=True),
            *(
                f"{value:.3f}"
                for value in (
                    row.f1_75,
                    row.accuracy,
                    row.mean_accuracy,
                    row.panoptic,
                    row.precision,
                    row.mean_precision,
                    row.best_iou,
                )
            ),
        ]
        for row in rows
    ]
    return _table(head, cells)


def render_checks(checks: Sequence[Check]) -> str:
    """Write a line for each demand, the word first."""
    return _lines(
        f"{'pass' if check.passed else 'FAIL'}: {check.demand}: {check.found}" for check in checks
    )


def render_protocol(params: EvaluationParams) -> str:
    """Say how the figures were made."""
    return (
        f"Objects of at least {params.least_area} pixels, at most {params.objects_per_image} of an"
        f" image (drawn with seed {params.seed}); IoU at the image's own size. 1 click: at the"
        " point deepest inside the object, best of three masks by predicted IoU; oracle: best of"
        " the three by the truth; 3 and 5 clicks: each next one deepest in the largest error, mask"
        " fed back; box: tight, single mask. Brackets: 95 % interval by bootstrap over images. off:"
        " mean |predicted IoU - IoU|. Random walkers answer for at most"
        f" {params.walker_objects} objects of a group. † ground truth not, or not surely, made by"
        " hand."
    )


def _estimate(estimate: Estimate | None, *, interval: bool) -> str:
    if estimate is None:
        return NOTHING
    if not interval or estimate.low is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _best(rivals: Sequence[Rival], n_objects: int) -> str:
    if not rivals:
        return NOTHING
    best = rivals[0]
    subset = "" if best.iou.n == n_objects else f" (n {best.iou.n})"
    return f"{best.iou.mean:.3f} {best.name}{subset}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)
