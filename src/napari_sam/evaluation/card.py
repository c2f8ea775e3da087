"""The figures of a model card: marked regions, one a protocol, that only evaluations rewrite."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from napari_sam.errors import NapariSamError
from napari_sam.evaluation.params import Protocol

END = "<!-- /figures -->"
_REGION = re.compile(r"<!-- figures: (\w+) -->.*?" + re.escape(END), re.DOTALL)


def regions_of(card: Path) -> tuple[str, ...]:
    """Protocols that a card has figures of, in its order.

    Raises
    ------
    NapariSamError
        The card cannot be read, has none, one of them twice, or one of an unknown name.
    """
    try:
        names = _REGION.findall(card.read_text(encoding="utf-8"))
    except OSError as error:
        raise NapariSamError(f"{card} cannot be read: {error}") from error
    if not names or len(set(names)) < len(names) or not set(names) <= set(Protocol):
        raise NapariSamError(
            f"{card} must have one region for each protocol, {start('interactive')} to {END};"
            f" found: {', '.join(names) or 'none'}; known: {', '.join(Protocol)}."
        )
    return tuple(names)


def check_regions(card: Path, wanted: Iterable[str]) -> None:
    """Refuse a card that has no region for one of the protocols.

    Raises
    ------
    NapariSamError
        Names the protocol and the marks.
    """
    missing = [name for name in wanted if name not in regions_of(card)]
    if missing:
        raise NapariSamError(
            f"{card} has no place for the figures of '{missing[0]}': write"
            f" {start(missing[0])} and {END} where they belong."
        )


def replace_figures(card: Path, figures: Mapping[str, str]) -> None:
    """Put Markdown between the marks of a card, in place of what was there.

    Parameters
    ----------
    card
        The file.
    figures
        Protocol -> Markdown; regions of other protocols stay as they are.

    Raises
    ------
    NapariSamError
        If the card has no region for one of them.
    """
    check_regions(card, figures)

    def rewrite(region: re.Match[str]) -> str:
        name = region.group(1)
        if name not in figures:
            return region.group()
        return f"{start(name)}\n\n{figures[name].strip()}\n\n{END}"

    card.write_text(_REGION.sub(rewrite, card.read_text(encoding="utf-8")), encoding="utf-8")


def start(name: str) -> str:
    """The mark that begins a protocol's region."""
    return f"<!-- figures: {name} -->"
