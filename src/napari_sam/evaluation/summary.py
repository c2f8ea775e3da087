"""From results of single objects to rows of means. Knows no model and no bar."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_sam.evaluation.baselines import BOX_BASELINES, CLICK_BASELINES
from napari_sam.evaluation.groups import BOX, CLICK, COLUMNS, N_CLICKS, ORACLE, group_order
from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.metrics import Estimate, estimate_mean

MANUAL = "manual"
REACHES = (0.8, 0.9)


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
class Reach:
    """How many clicks it takes to an IoU (Sofiiuk et al. 2021, "NoC@80", "NoC@90").

    Attributes
    ----------
    iou
        That is to be reached.
    clicks
        Mean number; an object that never gets there counts with all clicks that were made.
    never
        Share of these objects.
    """

    iou: float
    clicks: Estimate
    never: float


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
    curve
        Mean IoU after 1, 2, ... clicks.
    reaches
        Clicks to each of :data:`REACHES`.
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
    curve: tuple[Estimate, ...]
    reaches: tuple[Reach, ...]
    click_rivals: tuple[Rival, ...]
    box_rivals: tuple[Rival, ...]
    click_error: Estimate
    box_error: Estimate


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


def value_of(result: ObjectResult, column: str) -> float | None:
    """Look up an object's IoU in a column; None where fewer clicks were played."""
    if column == ORACLE:
        return result.oracle
    if column == BOX:
        return result.box
    count = N_CLICKS[column]
    return result.clicks[count - 1] if count <= len(result.clicks) else None


def clicks_to(result: ObjectResult, least: float) -> int | None:
    """How many clicks an object took to an IoU; None where it never got there."""
    return next((n for n, iou in enumerate(result.clicks, 1) if iou >= least), None)


def _summarise_group(
    name: str, results: Sequence[ObjectResult], origins: Mapping[str, str], seed: int
) -> GroupSummary:
    rounds = min(len(result.clicks) for result in results)
    columns = {
        column: found
        for column in COLUMNS
        if (found := _known_mean(((value_of(r, column), r.sample) for r in results), seed))
    }
    return GroupSummary(
        name=name,
        origin=", ".join(sorted({origins[r.sample] for r in results})),
        n_images=len({r.sample for r in results}),
        n_objects=len(results),
        columns=columns,
        curve=tuple(_mean(((r.clicks[k], r.sample) for r in results), seed) for k in range(rounds)),
        reaches=tuple(_reach(results, least, seed) for least in REACHES),
        click_rivals=_rivals(results, CLICK_BASELINES, CLICK, seed),
        box_rivals=_rivals(results, BOX_BASELINES, BOX, seed),
        click_error=_mean(((abs(r.predicted[0] - r.clicks[0]), r.sample) for r in results), seed),
        box_error=_mean(((abs(r.predicted_box - r.box), r.sample) for r in results), seed),
    )


def _mean(pairs: Iterable[tuple[float, str]], seed: int) -> Estimate:
    values, images = zip(*pairs, strict=True)
    return estimate_mean(values, images, seed=seed)


def _known_mean(pairs: Iterable[tuple[float | None, str]], seed: int) -> Estimate | None:
    """Mean of the values that are there; None where none is."""
    known = [(value, image) for value, image in pairs if value is not None]
    return _mean(known, seed) if known else None


def _reach(results: Sequence[ObjectResult], least: float, seed: int) -> Reach:
    counts = [clicks_to(result, least) for result in results]
    pairs = ((n or len(r.clicks), r.sample) for n, r in zip(counts, results, strict=True))
    return Reach(least, _mean(pairs, seed), counts.count(None) / len(counts))


def _rivals(
    results: Sequence[ObjectResult], names: Iterable[str], column: str, seed: int
) -> tuple[Rival, ...]:
    """Baselines with their lead or lag, the best first."""
    found = []
    for name in names:
        theirs = _known_mean(((r.baselines.get(name), r.sample) for r in results), seed)
        if theirs:
            leads = (
                ((value_of(r, column) or 0.0) - r.baselines[name], r.sample)
                for r in results
                if name in r.baselines
            )
            found.append(Rival(name, theirs, _mean(leads, seed)))
    return tuple(sorted(found, key=lambda rival: -rival.iou.mean))
