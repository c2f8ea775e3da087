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
    }
)
CLICK, ORACLE, CLICKS_3, CLICKS_5, BOX = "1 click", "oracle", "3 clicks", "5 clicks", "box"
COLUMNS = (CLICK, ORACLE, CLICKS_3, CLICKS_5, BOX)


@dataclass(frozen=True)
class Bar:
    """Mean IoU that a column of a group must reach."""

    group: str
    column: str
    least: float


BARS = (
    Bar("fluorescence", CLICK, 0.78),
    Bar("fluorescence", BOX, 0.87),
    Bar("fluorescence", CLICKS_5, 0.85),
    Bar("H&E", CLICK, 0.60),
    Bar("H&E", BOX, 0.75),
    Bar("H&E", CLICKS_5, 0.70),
    Bar("StarDist 2D", CLICK, 0.72),
    Bar("StarDist 2D", BOX, 0.82),
    Bar("StarDist 2D", CLICKS_5, 0.78),
)
BARRED_GROUPS = frozenset(bar.group for bar in BARS)


def group_of(item: Mapping[str, Any]) -> str:
    """Row of the report for a manifest's entry: a headline, or its modality and data set."""
    source = str(item["id"]).partition("/")[0]
    modality = str(item["modality"])
    return HEADLINES.get((source, modality), f"{modality} ({source})")


def group_order(name: str) -> tuple[int, str]:
    """Sorting key: headlines first, then by name."""
    headlines = list(HEADLINES.values())
    return (headlines.index(name) if name in headlines else len(headlines), name)
