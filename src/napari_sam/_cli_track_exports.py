"""What ``napari-sam track`` writes beside its labels, for other programs. Knows formats by name."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam._cli_volume import watch

if TYPE_CHECKING:
    from napari_sam.tracking.relabel import Relabelled


class Export(StrEnum):
    """Formats of tracks."""

    CTC = "ctc"
    CTC_TRUTH = "ctc-truth"
    GEFF = "geff"
    TRACKMATE = "trackmate-csv"


_ENDINGS = {Export.CTC: "_RES", Export.CTC_TRUTH: "_TRA", Export.GEFF: ".geff",
            Export.TRACKMATE: "_trackmate"}  # fmt: skip


def beside(output: Path, kind: Export) -> Path:
    """Where an export goes: its name is that of the labels with an ending."""
    return output.with_name(output.stem + _ENDINGS[kind])


def is_export(place: Path, kind: Export) -> bool:
    """Whether it is a folder of that kind, which may be replaced."""
    marks = {
        Export.CTC: ("res_track.txt",),
        Export.CTC_TRUTH: ("man_track.txt",),
        Export.GEFF: (".zattrs", "zarr.json"),
        Export.TRACKMATE: ("spots.csv",),
    }[kind]
    return place.is_dir() and any((place / mark).is_file() for mark in marks)


def write_export(made: "Relabelled", place: Path, kind: Export) -> None:
    """Write tracks in one of the formats."""
    from napari_sam.tracking import ctc, geff_store, trackmate

    unit = made.series.unit
    if kind is Export.GEFF:
        geff_store.write_geff(made.lineage, place, unit=unit)
    elif kind is Export.TRACKMATE:
        trackmate.write_trackmate(made.lineage, place, unit=unit)
    else:
        naming = ctc.RESULT if kind is Export.CTC else ctc.TRUTH
        watch(ctc.write_ctc(made, place, naming=naming))
