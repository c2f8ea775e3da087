"""Points and boxes from a CSV file: what a detector, a spreadsheet or napari has written.

Knows columns, lines and whether a row can be meant; knows no tiles and no model. Positions are
pixels of the level that is segmented, 0 is the centre of the first.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import xxhash

from napari_sam.core.object_prompts import ObjectPrompt
from napari_sam.errors import PromptError
from napari_sam.volume.image import ImageRef, Plane

__all__ = ["PromptTable", "VolumePrompt", "read_prompts"]

POINT, BOX = ("y", "x"), ("y0", "x0", "y1", "x1")
_OTHER = ("t", "z", "label", "object")
_WANTED = "y,x (points) or y0,x0,y1,x1 (boxes), with t, z, object and, of points, label if needed"


@dataclass(frozen=True)
class VolumePrompt:
    """What was said of one object on one plane, in pixels of the plane, and in which line."""

    plane: Plane
    prompt: ObjectPrompt
    line: int


@dataclass(frozen=True)
class PromptTable:
    """All objects of a file.

    Attributes
    ----------
    path, digest
        The file, and a hash of its bytes: what is made of it depends on that.
    objects
        In the order in which they come first.
    """

    path: str
    digest: str
    objects: tuple[VolumePrompt, ...]

    def check(self, image: ImageRef) -> None:
        """Refuse what lies outside an image.

        Raises
        ------
        PromptError
            Names the line.
        """
        height, width = image.size
        for one in self.objects:
            t, z = one.plane
            if t not in range(image.times) or z not in range(image.depth):
                raise _wrong(self.path, one.line, f"there is no plane t {t}, z {z}: "
                             + image.describe())  # fmt: skip
            prompt = one.prompt
            points = (*prompt.positive, *prompt.negative)
            outside = [(y, x) for y, x in points
                       if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5)]  # fmt: skip
            box = prompt.box
            if box and (box[0] >= height or box[1] >= width or box[2] <= 0 or box[3] <= 0):
                raise _wrong(self.path, one.line, f"box {box} lies outside: {image.describe()}")
            if outside:
                raise _wrong(
                    self.path, one.line, f"point {outside[0]} lies outside: {image.describe()}"
                )


def read_prompts(path: str | Path) -> PromptTable:
    """Read points or boxes.

    Parameters
    ----------
    path
        A CSV file (commas, semicolons or tabs) with a line of titles. Points: ``y`` and ``x``,
        each an object of its own, or those with one ``object`` together; ``label`` 0 is beside it.
        Boxes: ``y0``, ``x0``, ``y1``, ``x1``. ``z`` and ``t`` are 0 if not there, and rounded.
        Points as napari saves them (``axis-0`` ...) are taken, too.

    Raises
    ------
    PromptError
        The file cannot be read as such; names the line.
    """
    where = Path(path).resolve()
    try:
        content = where.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise PromptError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{path} is no text in UTF-8: save it as CSV.") from error
    rows = _rows(str(path), text)
    objects = tuple(_grouped(str(path), rows))
    if not objects:
        raise PromptError(f"{path} has no line but the titles.")
    return PromptTable(str(where), xxhash.xxh3_128_hexdigest(content), objects)


def _rows(path: str, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Values by column, with the number of the line; checks the titles."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    titles = _titles([title.strip().strip('"').lower() for title in next(reader, [])])
    kinds = [kind for kind in (POINT, BOX) if set(kind) <= set(titles)]
    if len(kinds) != 1:
        raise _wrong(path, 1, f"the columns are {', '.join(titles) or 'none'}; wanted: {_WANTED}")
    known = {*kinds[0], *_OTHER}
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(titles):
            raise _wrong(path, reader.line_num, f"{len(values)} values in {len(titles)} columns")
        pairs = zip(titles, (value.strip() for value in values), strict=True)
        yield reader.line_num, {title: value for title, value in pairs if title in known}


def _titles(titles: list[str]) -> list[str]:
    """The ``axis-0``, ... of napari by their letters: the last is x."""
    axes = [title for title in titles if title.startswith("axis-")]
    letters = dict(zip(reversed(axes), "xyzt", strict=False))
    return [letters.get(title, title) for title in titles]


def _grouped(path: str, rows: Iterable[tuple[int, dict[str, str]]]) -> Iterator[VolumePrompt]:
    """Rows of one object together; a row without ``object`` is one of its own."""
    found: dict[tuple[Plane, str], VolumePrompt] = {}
    for line, row in rows:
        one = _read(path, line, row)
        name = row.get("object") or f"line {line}"
        before = found.get((one.plane, name))
        if before is None:
            found[one.plane, name] = one
        elif before.prompt.box is not None:
            raise _wrong(path, line, f"object {name} has a box in line {before.line} already")
        else:
            joined = replace(
                before.prompt,
                positive=before.prompt.positive + one.prompt.positive,
                negative=before.prompt.negative + one.prompt.negative,
            )
            found[one.plane, name] = replace(before, prompt=joined)
    for (_, name), one in found.items():
        if not one.prompt.positive and one.prompt.box is None:
            raise _wrong(path, one.line, f"object {name} has no point with label 1")
    return iter(found.values())


def _read(path: str, line: int, row: Mapping[str, str]) -> VolumePrompt:
    plane = tuple(int(_number(path, line, row, axis, "0") + 0.5) for axis in "tz")
    if "y0" in row:
        y0, x0, y1, x1 = (_number(path, line, row, name) for name in BOX)
        if not (y0 < y1 and x0 < x1):
            raise _wrong(path, line, f"box {(y0, x0, y1, x1)} is empty: y0 < y1 and x0 < x1")
        return VolumePrompt((plane[0], plane[1]), ObjectPrompt(box=(y0, x0, y1, x1)), line)
    point = (_number(path, line, row, "y"), _number(path, line, row, "x"))
    label = row.get("label") or "1"
    if label not in ("0", "1"):
        raise _wrong(path, line, f"label is {label!r}; 1 is on the object, 0 beside it")
    positive, negative = ((point,), ()) if label == "1" else ((), (point,))
    return VolumePrompt((plane[0], plane[1]), ObjectPrompt(positive, negative), line)


def _number(
    path: str, line: int, row: Mapping[str, str], name: str, default: str | None = None
) -> float:
    text = row.get(name) or default
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise _wrong(path, line, f"{name} is {text or ''!r}; a number is wanted")
    return value


def _wrong(path: str, line: int, what: str) -> PromptError:
    return PromptError(f"{path}, line {line}: {what}.")
