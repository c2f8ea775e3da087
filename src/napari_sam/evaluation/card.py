"""The figures of a model card: one marked region that only an evaluation rewrites."""

import re
from pathlib import Path

from napari_sam.errors import NapariSamError

START, END = "<!-- figures -->", "<!-- /figures -->"
_REGION = re.compile(re.escape(START) + ".*?" + re.escape(END), re.DOTALL)


def replace_figures(card: Path, markdown: str) -> None:
    """Put ``markdown`` between the marks of a card, in place of what was there.

    Raises
    ------
    NapariSamError
        If the card has not exactly one such region.
    """
    text = card.read_text(encoding="utf-8")
    if len(_REGION.findall(text)) != 1:
        raise NapariSamError(f"{card} must have one region from {START} to {END}.")
    region = f"{START}\n\n{markdown.strip()}\n\n{END}"
    card.write_text(_REGION.sub(lambda _: region, text), encoding="utf-8")
