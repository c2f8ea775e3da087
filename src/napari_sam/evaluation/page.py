"""A report as one web page that needs no other file. Knows sections and pictures only."""

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from PIL import Image

from napari_sam.evaluation.diagram import draw_curves
from napari_sam.evaluation.tables import Curves, Section, Table

if TYPE_CHECKING:
    from napari_sam.evaluation.pictures import Sheet
    from napari_sam.evaluation.report import Report

WIDEST = 1600  # pixels of a picture in the page
PROMPT_TITLES = {"click": "one click", "clicks": "five clicks", "box": "a box"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em;
       color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25em .7em; text-align: right;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
.note { color: #555; max-width: 60em; }
.pass { color: #176d2c; } .fail { color: #b3261e; font-weight: 600; }
img { max-width: 100%; } svg { max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #16181c; } .note { color: #aaa; }
  th, td { border-color: #444; } .pass { color: #7bd88f; } .fail { color: #ff897d; }
  svg { background: #fff; }
}
"""


def render_page(report: "Report", sheets: "Sequence[Sheet]" = ()) -> str:
    """Write the page: every section, then pictures, then provenance."""
    models = ", ".join(report.results)
    parts = [_section(section, 2) for section in report.sections]
    if sheets:
        parts.append(_gallery(sheets))
    parts.append(_section(report.provenance_section(), 2))
    title = f"{models}: evaluation"
    links = " · ".join(
        f'<a href="#{escape(section.name)}">{escape(section.title)}</a>'
        for section in report.sections
    )
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n<p>{links}</p>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _section(section: Section, level: int) -> str:
    parts = [f'<h{level} id="{escape(section.name)}">{escape(section.title)}</h{level}>']
    for block in section.blocks:
        if isinstance(block, Section):
            parts.append(_section(block, level + 1))
        elif isinstance(block, Curves):
            parts += [draw_curves(block), _table(block.table())]
        elif isinstance(block, Table):
            parts.append(_table(block))
        else:
            parts.append(_text(block))
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"


def _text(text: str) -> str:
    """A paragraph, or a list where each line begins with a dash."""
    if not text.startswith("- "):
        return f'<p class="note">{escape(text)}</p>'
    lines = [escape(line[2:]) for line in text.splitlines()]
    marked = [
        re.sub(r"^(pass|FAIL):", lambda m: f'<span class="{m[1].lower()}">{m[1]}</span>:', line)
        for line in lines
    ]
    return "<ul>" + "".join(f"<li>{line}</li>\n" for line in marked) + "</ul>"


def _gallery(sheets: "Sequence[Sheet]") -> str:
    parts = [
        '<h2 id="cases">Worst and median cases</h2>',
        '<p class="note">Truth green, answer magenta, prompts yellow (red: beside the object).'
        " The first tiles are the worst objects of a group, the last ones lie at its median.</p>",
    ]
    for group, members in groupby(sheets, key=lambda sheet: sheet.group):
        parts.append(f"<h3>{escape(group)}</h3>")
        for sheet in members:
            title = PROMPT_TITLES[sheet.prompt]
            parts.append(
                f'<p>{title}</p>\n<img alt="{escape(group)}, {title}" src="{_embed(sheet.image)}">'
            )
    return "\n".join(parts)


def _embed(image: Image.Image) -> str:
    smaller = image.copy()
    smaller.thumbnail((WIDEST, 4 * WIDEST))
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
