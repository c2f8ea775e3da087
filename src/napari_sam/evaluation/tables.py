"""What a report is made of: sections of tables, curves and sentences, and their Markdown.

Plain values, for a Markdown file, a web page and JSON alike. Knows no protocol.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_sam.evaluation.metrics import Estimate

NOTHING = "-"


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; the first columns are names, the others figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Curves:
    """Several curves over the same steps.

    Attributes
    ----------
    x_name, y_name
        What the axes are.
    x
        Positions, ascending.
    lines
        Name -> an estimate for each position.
    """

    x_name: str
    y_name: str
    x: tuple[float, ...]
    lines: Mapping[str, tuple[Estimate, ...]]

    def table(self) -> Table:
        """The same as figures, a row a curve."""
        head = (self.x_name, *(f"{x:g}" for x in self.x))
        rows = [(name, *(f"{e.mean:.3f}" for e in line)) for name, line in self.lines.items()]
        return Table(head, tuple(rows))


@dataclass(frozen=True)
class Section:
    """Part of a report under a title: text, tables and curves in order.

    ``name`` is that of the protocol; a card keeps the section under it.
    """

    name: str
    title: str
    blocks: tuple["str | Table | Curves | Section", ...]

    def markdown(self, level: int = 2) -> str:
        """As Markdown, with headings from a level on."""
        parts = [f"{'#' * level} {self.title}"]
        for block in self.blocks:
            if isinstance(block, Section):
                parts.append(block.markdown(level + 1))
            elif isinstance(block, Curves):
                parts.append(block.table().markdown())
            elif isinstance(block, Table):
                parts.append(block.markdown())
            else:
                parts.append(block)
        return "\n\n".join(parts)


def make_table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of any sequences."""
    return Table(tuple(head), tuple(tuple(row) for row in rows))


def bullets(texts: Iterable[str]) -> str:
    """Lines of a list."""
    return "\n".join(f"- {text}" for text in texts)


def show(estimate: Estimate | None, *, interval: bool = True) -> str:
    """An estimate with three digits, and its interval where it has one."""
    if estimate is None or estimate.n == 0:
        return NOTHING
    if not interval or estimate.low is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def number(value: float | None) -> str:
    """A figure with three digits; a dash for none."""
    return NOTHING if value is None or value != value else f"{value:.3f}"


def row_name(group: str, model: str, models: Sequence[str]) -> tuple[str, ...]:
    """The first cells of a row: the group, and the model where there are several."""
    return (group, model) if len(models) > 1 else (group,)


def row_head(models: Sequence[str]) -> tuple[str, ...]:
    """The heads over :func:`row_name`."""
    return ("group", "model") if len(models) > 1 else ("group",)
