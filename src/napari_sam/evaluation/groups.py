"""Rows of the report, and what the bundled model must reach in them. Knows manifests only."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# (first part of an item's id, modality) -> row. These come first, in this order.
HEADLINES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("dsb2018", "fluorescence"): "fluorescence",
        ("dsb2018", "histology"): "H&E",
        ("stardist", "fluorescence"): "StarDist 2D",
        ("dsb2018", "brightfield"): "brightfield",
        ("usiigaci", "phase-contrast"): "phase contrast",
        ("axon_sem", "SEM"): "axon SEM",
    }
)
CLICK, ORACLE, BOX = "1 click", "oracle", "box"
CLICKS_3, CLICKS_5, CLICKS_11 = "3 clicks", "5 clicks", "11 clicks"
COLUMNS = (CLICK, ORACLE, CLICKS_3, CLICKS_5, CLICKS_11, BOX)
N_CLICKS: Mapping[str, int] = MappingProxyType({CLICK: 1, CLICKS_3: 3, CLICKS_5: 5, CLICKS_11: 11})


@dataclass(frozen=True)
class Bar:
    """Mean IoU that a column of a group must reach."""

    group: str
    column: str
    least: float


BARS = (
    Bar("fluorescence", CLICK, 0.81),
    Bar("fluorescence", BOX, 0.89),
    Bar("fluorescence", CLICKS_5, 0.88),
    Bar("H&E", CLICK, 0.68),
    Bar("H&E", BOX, 0.80),
    Bar("H&E", CLICKS_5, 0.76),
    Bar("StarDist 2D", CLICK, 0.75),
    Bar("StarDist 2D", BOX, 0.85),
    Bar("StarDist 2D", CLICKS_5, 0.82),
    Bar("brightfield", BOX, 0.72),
    Bar("phase contrast", BOX, 0.60),
    Bar("axon SEM", BOX, 0.80),
)
F1_BARS: Mapping[str, float] = MappingProxyType({"fluorescence": 0.80})  # automatic, at IoU 0.5
MOST_OFF = 0.08  # mean |predicted IoU - IoU|, of all groups with hand-made ground truth
GOOD, LEAST_GAIN = 0.85, 0.05  # where a click gives less, four more bring at least so much


def group_of(item: Mapping[str, Any]) -> str:
    """Row of the report for a manifest's entry: a headline, or its modality and data set."""
    source = str(item["id"]).partition("/")[0]
    modality = str(item["modality"])
    own = modality == source or modality == source.partition(".")[0]
    return HEADLINES.get((source, modality), modality if own else f"{modality} ({source})")


def group_order(name: str) -> tuple[int, str]:
    """Sorting key: headlines first, then by name."""
    headlines = list(HEADLINES.values())
    return (headlines.index(name) if name in headlines else len(headlines), name)
