"""What a journal says: its lines, the document that they lead to, the newest one of an image.

Knows files and steps; writes nothing. A damaged line ends what can be used: each step builds on the
one before.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_sam._document import Document
from napari_sam._history import STEPS_KEPT
from napari_sam._label_edit import LabelImage, edit_from_json
from napari_sam._source import Source
from napari_sam._step_json import step_from_json
from napari_sam.errors import EditError, JournalError

FORMAT = "napari-sam journal"
VERSION = 1
SUFFIX = ".jsonl"
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, EditError, zlib.error)


@dataclass(frozen=True)
class Lines:
    """What a journal says.

    Attributes
    ----------
    source
        Its image.
    records
        All whole lines after the header, up to the first that is damaged.
    length
        Bytes of these lines and the header.
    size
        Bytes of the file.
    damaged
        Whether a line says nothing though it is whole; a torn last line does no harm.
    lost
        Lines that come after a damaged one.
    """

    path: Path
    source: Source
    records: tuple[dict[str, Any], ...]
    length: int
    size: int
    damaged: bool = False
    lost: int = 0

    @property
    def steps(self) -> int:
        """How many things were done."""
        return sum(record.get("do") == "step" for record in self.records)

    @property
    def has_work(self) -> bool:
        """Whether it has come to more than prompts."""
        return any("edit" in record or "objects" in record for record in self.records)

    @property
    def last(self) -> str:
        """When the last line was written, ISO 8601."""
        return str(self.records[-1].get("time", "")) if self.records else ""


def read_journal(path: str | Path) -> Lines:
    """Read a journal, up to the first line that is torn or damaged.

    Raises
    ------
    JournalError
        The file cannot be read, or it is no journal that this version knows.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    rows = data.splitlines(keepends=True)
    values: list[dict[str, Any]] = []
    for row in rows:
        value = _value(row)
        if value is None:
            break
        values.append(value)
    source = _source(path, values[0] if values else {})
    length = sum(map(len, rows[: len(values)]))
    rest = rows[len(values) :]
    damaged = bool(rest) and rest[0].endswith(b"\n")
    return Lines(path, source, tuple(values[1:]), length, len(data), damaged, max(0, len(rest) - 1))


def _value(row: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(row) if row.endswith(b"\n") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _source(path: Path, header: Mapping[str, Any]) -> Source:
    if header.get("format") != FORMAT:
        raise JournalError(f"{path} is no journal of napari-sam.")
    if header.get("version") != VERSION:
        raise JournalError(
            f"{path} has version {header.get('version')}; this napari-sam reads {VERSION}."
        )
    try:
        image = header["image"]
        return Source(**{**image, "shape": tuple(int(n) for n in image["shape"])})
    except MALFORMED as error:
        raise JournalError(f"{path}: its first line says of no image ({error}).") from error


def restore(lines: Lines, labels: LabelImage, *, kept: int | None = STEPS_KEPT) -> Document:
    """The document as it was when the last whole line was written.

    Parameters
    ----------
    lines
        What the journal says.
    labels
        Empty labels with the image's pixels: they are drawn on.

    Raises
    ------
    JournalError
        The labels do not have the image's pixels, or a line says no step.
    """
    if tuple(labels.shape) != lines.source.shape:
        raise JournalError(
            f"{lines.path} is of an image with {lines.source.shape} pixels, these labels have"
            f" {tuple(labels.shape)}."
        )
    document = Document(labels, kept=kept)
    for number, record in enumerate(lines.records, start=2):
        try:
            _do(document, labels, record)
        except MALFORMED as error:
            raise JournalError(
                f"{lines.path}, line {number}: it says no step ({type(error).__name__}: {error})."
                " Cut the file before that line to have what comes before it."
            ) from error
    return document


def _do(document: Document, labels: LabelImage, record: Mapping[str, Any]) -> None:
    match record["do"]:
        case "step":
            known = (document.draft, document.objects, document.kinds)
            document.apply(step_from_json(record, *known))
        case "undo":
            document.undo()
        case "redo":
            document.redo()
        case "base":
            edit_from_json(record["edit"]).apply(labels)
            document.attach(labels)
        case other:
            raise ValueError(f"nothing is called {other!r}")


def newest(source: Source, chosen: Path | None = None) -> Lines | None:
    """The journal of an image that was written last, if it says anything and nobody is at it.

    One with kept objects goes before those with nothing but prompts. Looked at are all folders
    where it may lie; ``chosen``: the user's folder for many images.
    """
    paths = [path for folder in source.folders(chosen) for path in folder.glob(f"*{SUFFIX}")]
    draft = None
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            with FileLock(f"{path}.lock", timeout=0):
                lines = read_journal(path)
        except (Timeout, JournalError, OSError):
            continue
        if lines.steps and source.is_same(lines.source):
            if lines.has_work:
                return lines
            draft = draft or lines
    return draft
