"""Curves as SVG text: axes, lines with their intervals, a legend. Knows numbers only."""

from collections.abc import Sequence
from html import escape

from napari_sam.evaluation.metrics import Estimate
from napari_sam.evaluation.tables import Curves

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 40
LEGEND = 300  # pixels right of the diagram
LINE = 18
COLOURS = ("#1b6ca8", "#d1495b", "#2e8540", "#8e44ad", "#c77700", "#008b8b", "#6b4f3a", "#7a7a7a",
           "#e377c2", "#556b2f")  # fmt: skip
DASHES = ("", "6 3", "2 3", "8 3 2 3")


def draw_curves(curves: Curves) -> str:
    """Draw curves with values of 0 to 1 as an ``<svg>``; shaded: the intervals."""
    count = len(curves.lines)
    height = max(HEIGHT, TOP + LINE * (count + 1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEGEND} {height}"'
        f' width="{WIDTH + LEGEND}" height="{height}" role="img" font-family="sans-serif"'
        f' font-size="12">',
        *_axes(curves),
    ]
    for number, (name, line) in enumerate(curves.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        if count <= 8:  # more shades only hide each other
            parts.append(_shade(curves.x, line, colour))
        style = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        points = _points([(x, e.mean) for x, e in zip(curves.x, line, strict=True)], curves.x)
        parts.append(f'<polyline points="{points}" fill="none" {style}/>')
        y = TOP + LINE * (number + 1)
        parts.append(
            f'<line x1="{WIDTH + 10}" x2="{WIDTH + 40}" y1="{y - 4}" y2="{y - 4}" {style}/>'
        )
        parts.append(f'<text x="{WIDTH + 46}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def _axes(curves: Curves) -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        _, y = _place(curves.x[0], tenth / 10, curves.x)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    for step in curves.x:
        x, _ = _place(step, 0, curves.x)
        parts.append(
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{step:g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(curves.x_name)}</text>'
    )
    parts.append(
        f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(curves.y_name)}</text>"
    )
    return parts


def _shade(x: Sequence[float], line: Sequence[Estimate], colour: str) -> str:
    known = [(s, e) for s, e in zip(x, line, strict=True) if e.low is not None]
    upper = [(s, e.high or e.mean) for s, e in known]
    lower = [(s, e.low or e.mean) for s, e in known]
    outline = _points(upper + lower[::-1], x)
    return f'<polygon points="{outline}" fill="{colour}" opacity="0.12"/>'


def _points(pairs: Sequence[tuple[float, float]], x: Sequence[float]) -> str:
    return " ".join("{:.1f},{:.1f}".format(*_place(step, value, x)) for step, value in pairs)


def _place(step: float, value: float, x: Sequence[float]) -> tuple[float, float]:
    """Pixels of a value of 0 to 1 at a step."""
    along = (step - x[0]) / (x[-1] - x[0]) if x[-1] > x[0] else 0.5
    across = LEFT + 20 + along * (WIDTH - RIGHT - LEFT - 40)
    return across, TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)
