"""``napari-sam track``: labels of single frames become tracks; what divides is proposed.

Knows the options and what is told; the jobs are in ``tracking``.
"""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from napari_sam._cli_groups import grouped
from napari_sam._cli_options import Force, Verbose, numbers, whole
from napari_sam._cli_track_exports import Export, beside, is_export, write_export
from napari_sam._cli_volume import say, watch

if TYPE_CHECKING:
    from napari_sam.tracking.lineage import Lineage
    from napari_sam.tracking.pipeline import TrackParams
    from napari_sam.tracking.proposal import Proposal
    from napari_sam.tracking.relabel import Relabelled
    from napari_sam.tracking.series import LabelSeries

__all__ = ["track"]

_LINKS, _EVENTS = "How objects are linked", "What divides and what ends"


class _Method(StrEnum):
    """As :class:`napari_sam.tracking.pipeline.Method`, which is not imported for a menu."""

    OVERLAP = "overlap"
    LAPTRACK = "laptrack"
    IDS = "ids"


class _Divisions(StrEnum):
    PROPOSE = "propose"
    ACCEPT = "accept"


_USELESS = {_Method.OVERLAP: ("max_distance",), _Method.LAPTRACK: ("iou", "covered"),
            _Method.IDS: ("iou", "max_distance")}  # fmt: skip

LabelsPath = Annotated[
    str,
    typer.Argument(
        metavar="LABELS",
        help="Labels through time: a TIFF, .npy or zarr (t,y,x or t,z,y,x), or a folder with a TIFF"
        " or PNG for each frame.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FILE", help="The tracked labels: .tif, .npy or .zarr (OME-Zarr)."
    ),
]
Axes = Annotated[
    str | None,
    typer.Option("--axes", metavar="TZYX", help="A letter for each axis, if the file is wrong."),
]
Spacing = Annotated[
    str | None,
    typer.Option("--spacing", metavar="Z,Y,X", help="Size of a voxel (2D: y,x), for distances."),
]
ImageFile = Annotated[
    str | None,
    typer.Option("--image", metavar="FILE", help="The image of these labels: its spacing counts."),
]
How = Annotated[
    _Method,
    typer.Option(
        "--method",
        help="overlap: shared pixels; laptrack: distances (extra 'tracking'); ids: labels are"
        " tracks already.",
        rich_help_panel=_LINKS,
    ),
]
Gap = Annotated[int, whole("--gap", 0, "Frames that may miss an object.", _LINKS)]
Iou = Annotated[
    float | None,
    typer.Option(
        "--iou",
        metavar="X",
        help="Least overlap of an object with itself, a frame later.",
        rich_help_panel=_LINKS,
    ),
]
Covered = Annotated[
    float | None,
    typer.Option(
        "--covered",
        metavar="X",
        help="Least share of a child where its parent was.",
        rich_help_panel=_LINKS,
    ),
]
Distance = Annotated[
    float | None,
    typer.Option(
        "--max-distance",
        metavar="D",
        help="For laptrack, in units of the spacing; default: the objects' median diameter.",
        rich_help_panel=_LINKS,
    ),
]
Divide = Annotated[
    _Divisions,
    typer.Option(
        "--divisions",
        help="accept: those with enough evidence; propose: none, only list them.",
        rich_help_panel=_EVENTS,
    ),
]
Evidence = Annotated[
    float | None,
    typer.Option(
        "--evidence",
        metavar="X",
        min=0,
        max=1,
        help="What is enough, 0 to 1; default: 0.5.",
        rich_help_panel=_EVENTS,
    ),
]
Events = Annotated[
    Path | None,
    typer.Option(
        "--events",
        metavar="FILE",
        help="Also write all that is proposed to a .csv.",
        rich_help_panel=_EVENTS,
    ),
]
Decide = Annotated[
    Path | None,
    typer.Option(
        "--decide",
        metavar="FILE",
        help="Decide as the last column of such a .csv says.",
        rich_help_panel=_EVENTS,
    ),
]
LeastLength = Annotated[
    int, whole("--min-length", 1, "Leave out tracks in fewer frames, without relatives.", _EVENTS)
]
Exports = Annotated[
    list[Export] | None,
    typer.Option(
        "--export",
        metavar="[ctc|ctc-truth|geff|trackmate-csv]",
        help="Also write this beside the labels; may be given again.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Linking:
    """How objects are linked."""

    method: How = _Method.OVERLAP
    gap: Gap = 1
    iou: Iou = None
    covered: Covered = None
    max_distance: Distance = None

    def params(self) -> "TrackParams":
        """The defaults with what was given."""
        from napari_sam.tracking.pipeline import Method, TrackParams

        given = {key: value for key, value in asdict(self).items() if value is not None}
        for name in _USELESS[self.method]:
            if name in given:
                raise typer.BadParameter(
                    f"--{name.replace('_', '-')} has no effect with --method {self.method}."
                )
        return TrackParams(**(given | {"method": Method(self.method.value)}))


@dataclass(frozen=True)
class Deciding:
    """What becomes of what is proposed."""

    divisions: Divide = _Divisions.ACCEPT
    evidence: Evidence = None
    events: Events = None
    decide: Decide = None
    min_length: LeastLength = 1

    @property
    def least(self) -> float | None:
        """The evidence that is enough; None where nothing is."""
        from napari_sam.tracking.proposal import USUAL_EVIDENCE

        if self.divisions is _Divisions.PROPOSE:
            return None
        return USUAL_EVIDENCE if self.evidence is None else self.evidence

    def check(self) -> None:
        """Refuse settings without effect."""
        proposing = self.divisions is _Divisions.PROPOSE
        if self.evidence is not None and (proposing or self.decide is not None):
            other = "--decide" if self.decide is not None else "--divisions propose"
            raise typer.BadParameter(f"--evidence has no effect with {other}.")
        if proposing and self.decide is not None:
            raise typer.BadParameter("--divisions propose has no effect with --decide.")

    @property
    def given(self) -> bool:
        """Whether anything was said of events."""
        return self != Deciding(min_length=self.min_length)

    def lineage(self, proposal: "Proposal") -> "Lineage":
        """What is decided."""
        from napari_sam.tracking.event_table import read_events

        if self.decide is not None:
            decisions = read_events(proposal, self.decide)
            made = proposal.decide(decisions.accepted, decisions.refused)
        else:
            made = proposal.decide() if self.least is None else proposal.accept(self.least)
        return made.without_short(self.min_length)


@grouped
def track(
    labels: LabelsPath,
    output: Output,
    *,
    axes: Axes = None,
    spacing: Spacing = None,
    image: ImageFile = None,
    linking: Linking,
    deciding: Deciding,
    export: Exports = None,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Give objects of single frames the same number through time, and find what divides.

        napari-sam track labels.tif -o tracked.tif --export ctc --export geff

    Objects of the first frame keep their numbers. To decide on each division, and on each object
    that ends, write them to a table, change its last column, and read it again:

        napari-sam track labels.tif -o tracked.tif --events events.csv

        napari-sam track labels.tif -o tracked.tif --decide events.csv --force
    """
    from napari_sam.tracking.ctc import is_ctc, read_ctc
    from napari_sam.tracking.relabel import Relabelled
    from napari_sam.tracking.write import write_tracked

    params = linking.params()
    deciding.check()
    exports = tuple(dict.fromkeys(export or ()))
    _check_places(labels, output, exports, deciding, force)
    if linking.method is _Method.IDS and is_ctc(Path(labels)):
        if deciding.given or linking != Linking(linking.method) or axes is not None:
            raise typer.BadParameter(f"{labels} has its own lineage: there is nothing to decide.")
        series, lineage = watch(read_ctc(Path(labels), spacing=_spacing(spacing)))
        series = _measured(series, image, keep=spacing is not None)
        kept = replace(lineage, spacing=series.spacing).without_short(deciding.min_length)
        made = Relabelled(series, kept)
    else:
        series = _measured(_open(labels, axes, spacing), image, keep=spacing is not None)
        made = _tracked(series, params, deciding)
    watch(write_tracked(made, output, provenance=_provenance(labels, linking, deciding)))
    for kind in exports:
        write_export(made, beside(output, kind), kind)
    _tell(made, output, exports)


def _tracked(series: "LabelSeries", params: "TrackParams", deciding: Deciding) -> "Relabelled":
    """Labels by track, as was decided; tells of what was proposed."""
    from napari_sam.tracking.event_table import write_events
    from napari_sam.tracking.pipeline import track_labels
    from napari_sam.tracking.relabel import Relabelled

    proposal = watch(track_labels(series, params))
    made = Relabelled(series, deciding.lineage(proposal))
    if deciding.events is not None:
        write_events(proposal, deciding.events, evidence=deciding.least)
    if deciding.decide is None:
        _tell_events(proposal, deciding.least)
    return made


def _check_places(
    labels: str, output: Path, exports: tuple[Export, ...], deciding: Deciding, force: bool
) -> None:
    """Refuse places for results before any work is done."""
    from napari_sam._result_files import check_output
    from napari_sam.tracking.write import SUFFIXES

    if output.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(
            f"the labels go to a file that ends in {', '.join(SUFFIXES)}.", param_hint="--output"
        )
    source = Path(labels)
    check_output(output, force=force, source=source)
    if deciding.events is not None:
        if deciding.events.suffix.lower() != ".csv":
            raise typer.BadParameter("the events go to a .csv file.", param_hint="--events")
        check_output(deciding.events, force=force, source=source)
    for kind in exports:
        place = beside(output, kind)
        if not (force and is_export(place, kind)):
            check_output(place, force=force, source=source)


def _open(labels: str, axes: str | None, spacing: str | None) -> "LabelSeries":
    from napari_sam.tracking.series import LabelSeries

    series = LabelSeries.open(labels, axes=axes, spacing=_spacing(spacing))
    if series.renamed:
        typer.echo(f"{series.image.describe()}: its first axis is taken as the time.", err=True)
    return series


def _measured(series: "LabelSeries", image: str | None, *, keep: bool) -> "LabelSeries":
    """With the voxel size of the image, if one is named."""
    from napari_sam.volume.image import ImageRef

    return series if image is None else series.measured(ImageRef.open(image), keep=keep)


def _spacing(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    return numbers(text, float, names="z,y,x" if text.count(",") > 1 else "y,x")


def _provenance(labels: str, linking: Linking, deciding: Deciding) -> dict[str, object]:
    from napari_sam import __version__

    settings = {
        key: str(value) if isinstance(value, Path | StrEnum) else value
        for key, value in (asdict(linking) | asdict(deciding)).items()
        if value is not None
    }
    return {"by": f"napari-sam {__version__} track", "labels": Path(labels).name} | settings


def _tell_events(proposal: "Proposal", least: float | None) -> None:
    if not proposal.divisions:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("frame", "parent", "children", "evidence", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for one in proposal.divisions:
        taken = "accepted" if least is not None and one.evidence >= least else "proposed"
        children = ", ".join(map(str, one.children))
        table.add_row(str(one.frame), str(one.parent), children, f"{one.evidence:.2f}", taken)
    say("divisions, by frames from 0 and the numbers in LABELS:")
    Console().print(table)


def _tell(made: "Relabelled", output: Path, exports: tuple[Export, ...]) -> None:
    lineage = made.lineage
    say(
        f"{output}: {len(lineage.tracks)} tracks of {int((lineage.track > 0).sum())} objects in"
        f" {made.shape[0]} frames, {len(lineage.divisions)} divisions"
    )
    for kind in exports:
        say(str(beside(output, kind)))
