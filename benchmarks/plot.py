"""Blocks -> one SVG picture of bars: how many times faster than the base.

Plain SVG: it needs no library, and its text can be compared by git.
"""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.timing import Block, Summary, summarise

BAR_HEIGHT, LABEL_WIDTH, BARS_WIDTH, VALUE_WIDTH = 18, 150, 420, 160
OURS, THEIRS, BUSY_OPACITY = "#0b7285", "#adb5bd", 0.5


def to_svg(blocks: Sequence[Block]) -> str:
    """Draw all blocks that have ratios, one below the other; pale bars: busy machine."""
    parts: list[str] = []
    top = 10
    for block in blocks:
        summaries = {n: s for n, s in summarise(block).items() if s.speedup is not None}
        if not summaries:
            continue
        title = f"{block.name} (times faster than {block.base})"
        parts.append(_text(10, top + 14, title, weight="bold"))
        top += BAR_HEIGHT + 4
        longest = max(s.speedup or 0 for s in summaries.values())
        for name, summary in summaries.items():
            parts += _bar(name, summary, top, longest)
            top += BAR_HEIGHT
        top += 14
    width = LABEL_WIDTH + BARS_WIDTH + VALUE_WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}"'
        ' font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{top}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(name: str, summary: Summary, top: int, longest: float) -> list[str]:
    speedup = summary.speedup or 0.0
    width = BARS_WIDTH * speedup / longest
    color = OURS if name.startswith("ours") else THEIRS
    opacity = 1 if summary.only_quiet else BUSY_OPACITY
    value = f"{speedup:.2f} x  ({summary.p50:.3g} s)"
    return [
        _text(LABEL_WIDTH - 8, top + 13, name, anchor="end"),
        f'<rect x="{LABEL_WIDTH}" y="{top + 2}" width="{width:.1f}" height="{BAR_HEIGHT - 4}"'
        f' fill="{color}" fill-opacity="{opacity}"/>',
        _text(int(LABEL_WIDTH + width + 6), top + 13, value),
    ]


def _text(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
