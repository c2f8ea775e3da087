"""What the bundled model must reach, and whether it does. Knows summaries only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from napari_sam.evaluation.groups import (
    BARS,
    BOX,
    CLICK,
    CLICKS_5,
    F1_BARS,
    GOOD,
    LEAST_GAIN,
    MOST_OFF,
)
from napari_sam.evaluation.summary import MANUAL, GroupSummary

ELLIPSE = "ellipse in box"


@dataclass(frozen=True)
class Check:
    """A demand, what was found, and whether that is enough."""

    demand: str
    found: str
    passed: bool

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}: {self.demand}: {self.found}"


def check_bars(groups: Sequence[GroupSummary]) -> list[Check]:
    """Check the groups that were evaluated, if their ground truth or a bar of their own allows it.

    The bars; a box ahead of the ellipse in it; four more clicks that bring five points where one
    gives less than 0.85; predicted IoU that is off by 0.08 at most.
    """
    return [*_check_means(groups), *_check_leads(groups), *_check_gains(groups), *_off(groups)]


def check_f1(found: Iterable[tuple[str, float]]) -> list[Check]:
    """Check F1 at IoU 0.5 of the automatic protocol: (group, figure)."""
    return [
        Check(f"{group}, F1@0.5 at least {F1_BARS[group]:.2f}", f"{f1:.3f}", f1 >= F1_BARS[group])
        for group, f1 in found
        if group in F1_BARS
    ]


def _check_means(groups: Sequence[GroupSummary]) -> Iterator[Check]:
    by_name = {group.name: group for group in groups}
    for bar in BARS:
        found = by_name[bar.group].columns.get(bar.column) if bar.group in by_name else None
        if found:
            demand = f"{bar.group}, {bar.column} at least {bar.least:.2f}"
            yield Check(demand, f"{found.mean:.3f}", found.mean >= bar.least)


def _check_leads(groups: Sequence[GroupSummary]) -> Iterator[Check]:
    for group in groups:
        for rival in group.box_rivals:
            if rival.name == ELLIPSE:
                demand = f"{group.name}, {BOX} above {ELLIPSE} ({rival.iou.mean:.3f})"
                found = f"ahead by {rival.lead.mean:+.3f} on {rival.lead.n} objects"
                yield Check(demand, found, rival.lead.mean > 0)


def _check_gains(groups: Sequence[GroupSummary]) -> Iterator[Check]:
    for group in groups:
        one, five = group.columns.get(CLICK), group.columns.get(CLICKS_5)
        if one and five and one.mean < GOOD:
            gain = five.mean - one.mean
            demand = f"{group.name}, {CLICKS_5} at least {LEAST_GAIN:.2f} above {CLICK}"
            yield Check(demand, f"{gain:+.3f}", gain >= LEAST_GAIN)


def _off(groups: Sequence[GroupSummary]) -> Iterator[Check]:
    """Of all objects whose truth was made by hand, clicks and boxes apart."""
    for name in (CLICK, BOX):
        errors = [
            (group.click_error if name == CLICK else group.box_error, group.n_objects)
            for group in groups
            if group.origin == MANUAL
        ]
        if errors:
            off = sum(e.mean * n for e, n in errors) / sum(n for _, n in errors)
            demand = f"{name}, |predicted IoU - IoU| at most {MOST_OFF:.2f}"
            yield Check(demand, f"{off:.3f}", off <= MOST_OFF)
