"""From results of single objects to rows of means, and which bars they reach. Knows no model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_sam.evaluation.baselines import BOX_BASELINES, CLICK_BASELINES
from napari_sam.evaluation.groups import (
    BARRED_GROUPS,
    BARS,
    BOX,
    CLICK,
    CLICKS_3,
    CLICKS_5,
    COLUMNS,
    ORACLE,
    group_order,
)
from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.metrics import Estimate, estimate_mean

MANUAL = "manual"


@dataclass(frozen=True)
class Rival:
    """A baseline in one group.

    Attributes
    ----------
    name
        Of the method.
    iou
        Its own mean.
    lead
        Mean by which the model is ahead, on the objects that the method answered for.
    """

    name: str
    iou: Estimate
    lead: Estimate


@dataclass(frozen=True)
class GroupSummary:
    """One row of the report.

    Attributes
    ----------
    name
        As :func:`~napari_sam.evaluation.groups.group_of` gives it.
    origin
        How the ground truth came about; only ``"manual"`` should be quoted.
    n_images, n_objects
        What was asked.
    columns
        Mean IoU by column name; a column lacks where fewer clicks were played.
    click_rivals, box_rivals
        Baselines, the best first.
    click_error, box_error
        Mean ``|predicted IoU - IoU|`` of the first click's chosen mask and of the box's.
    """

    name: str
    origin: str
    n_images: int
    n_objects: int
    columns: Mapping[str, Estimate]
    click_rivals: tuple[Rival, ...]
    box_rivals: tuple[Rival, ...]
    click_error: Estimate
    box_error: Estimate


@dataclass(frozen=True)
class Check:
    """A demand, what was found, and whether that is enough."""

    demand: str
    found: str
    passed: bool


def summarise(
    results: Iterable[ObjectResult], origins: Mapping[str, str], *, seed: int = 0
) -> list[GroupSummary]:
    """Make the rows of all groups that have results, headlines first.

    ``origins`` says for each sample's name how its ground truth came about.
    """
    by_group: dict[str, list[ObjectResult]] = {}
    for result in results:
        by_group.setdefault(result.group, []).append(result)
    return [
        _summarise_group(name, by_group[name], origins, seed)
        for name in sorted(by_group, key=group_order)
    ]


def check_bars(groups: Sequence[GroupSummary]) -> list[Check]:
    """Check the bars of the groups that were evaluated, and the lead over each baseline there."""
    by_name = {group.name: group for group in groups}
    checks = []
    for bar in BARS:
        found = by_name[bar.group].columns.get(bar.column) if bar.group in by_name else None
        if found:
            checks.append(
                Check(
                    f"{bar.group}, {bar.column} at least {bar.least:.2f}",
                    f"{found.mean:.3f}",
                    found.mean >= bar.least,
                )
            )
    for group in groups:
        if group.name in BARRED_GROUPS:
            for column, rivals in ((CLICK, group.click_rivals), (BOX, group.box_rivals)):
                checks += [_check_rival(group.name, column, rival) for rival in rivals]
    return checks


def value_of(result: ObjectResult, column: str) -> float | None:
    """Look up an object's IoU in a column; None where fewer clicks were played."""
    if column == ORACLE:
        return result.oracle
    if column == BOX:
        return result.box
    count = {CLICK: 1, CLICKS_3: 3, CLICKS_5: 5}[column]
    return result.clicks[count - 1] if count <= len(result.clicks) else None


def _summarise_group(
    name: str, results: Sequence[ObjectResult], origins: Mapping[str, str], seed: int
) -> GroupSummary:
    def estimate(pairs: Iterable[tuple[float | None, str]]) -> Estimate | None:
        known = [(value, image) for value, image in pairs if value is not None]
        if not known:
            return None
        return estimate_mean([v for v, _ in known], [image for _, image in known], seed=seed)

    def sure(pairs: Iterable[tuple[float, str]]) -> Estimate:
        values, images = zip(*pairs, strict=True)
        return estimate_mean(values, images, seed=seed)

    def rivals(names: Iterable[str], column: str) -> tuple[Rival, ...]:
        found = []
        for rival in names:
            theirs = estimate((r.baselines.get(rival), r.sample) for r in results)
            if theirs:
                lead = sure(
                    ((value_of(r, column) or 0.0) - r.baselines[rival], r.sample)
                    for r in results
                    if rival in r.baselines
                )
                found.append(Rival(rival, theirs, lead))
        return tuple(sorted(found, key=lambda r: -r.iou.mean))

    columns = {
        column: found
        for column in COLUMNS
        if (found := estimate((value_of(r, column), r.sample) for r in results))
    }
    return GroupSummary(
        name=name,
        origin=", ".join(sorted({origins[r.sample] for r in results})),
        n_images=len({r.sample for r in results}),
        n_objects=len(results),
        columns=columns,
        click_rivals=rivals(CLICK_BASELINES, CLICK),
        box_rivals=rivals(BOX_BASELINES, BOX),
        click_error=sure((abs(r.predicted[0] - r.clicks[0]), r.sample) for r in results),
        box_error=sure((abs(r.predicted_box - r.box), r.sample) for r in results),
    )


def _check_rival(group: str, column: str, rival: Rival) -> Check:
    return Check(
        f"{group}, {column} above {rival.name} ({rival.iou.mean:.3f})",
        f"ahead by {rival.lead.mean:+.3f} on {rival.lead.n} objects",
        rival.lead.mean > 0,
    )
