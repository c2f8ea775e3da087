"""Everything that happens to a document, on disk at once: append-only JSON lines.

Knows files and steps; knows no window. A line is handed to the operating system before the step is
over, so that killing the program loses nothing; :meth:`Journal.sync` sees to it that a power cut
does not either. A last line that was torn is ignored when the journal is read again.

The folder is ``<image>.napari-sam`` beside the image or, where that cannot be, in the user's data.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from napari_sam._document import Document
from napari_sam._history import STEPS_KEPT, Step
from napari_sam._label_edit import LabelImage, difference, edit_from_json, edit_to_json
from napari_sam._step_json import step_from_json, step_to_json
from napari_sam.errors import JournalError

FORMAT = "napari-sam journal"
VERSION = 1
SUFFIX = ".jsonl"
FOLDER_SUFFIX = ".napari-sam"
LARGEST_BASE = 1 << 26  # pixels
UNSAFE = '<>:"/\\|?* '


@dataclass(frozen=True)
class Source:
    """The image that is annotated, as far as a journal must know it.

    Attributes
    ----------
    name, path
        Of the layer, and of its file; empty where there is none.
    shape, dtype
        Of the whole array, without colours.
    fingerprint
        Tells its pixels from those of other images of the same name.
    """

    name: str
    path: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    fingerprint: str = ""

    def folder(self) -> Path:
        """Where its journals belong: beside the image if that can be written."""
        path = Path(self.path) if self.path else None
        if path is not None and path.parent.is_dir() and os.access(path.parent, os.W_OK):
            return path.with_name(path.name + FOLDER_SUFFIX)
        name = "".join("_" if letter in UNSAFE else letter for letter in self.name)[:60]
        known = json.dumps([self.path, self.name, self.shape, self.dtype])
        digest = hashlib.sha256(known.encode()).hexdigest()[:12]
        return Path(platformdirs.user_data_dir("napari-sam")) / "projects" / f"{name}-{digest}"

    def is_same(self, other: "Source") -> bool:
        """Whether a journal of the other image fits this one."""
        return (self.shape, self.fingerprint) == (other.shape, other.fingerprint)


@dataclass
class Journal:
    """Writes what it is told; is a :class:`~napari_sam._document.Recorder`.

    Parameters
    ----------
    source
        What is annotated.
    path
        The file; None: a new one in the folder of the source, made at the first line.
    on_failure
        Told once, in words, when the disk takes no more lines: the work goes on without them.
    """

    source: Source
    path: Path | None = None
    lines: int = 0
    on_failure: Callable[[str], None] | None = None
    failed: bool = False
    labels: LabelImage | None = field(default=None, repr=False)  # whose changes it has
    _file: IO[bytes] | None = field(default=None, repr=False)
    _lock: FileLock | None = field(default=None, repr=False)

    def step(self, step: Step) -> None:
        """Something was done."""
        self._write({"do": "step", **step_to_json(step)})

    def turn(self, direction: Literal["undo", "redo"]) -> None:
        """The last step was taken back, or done again."""
        self._write({"do": direction})

    def base(self, labels: LabelImage) -> None:
        """Labels that were there before the first step."""
        if np.prod(labels.shape, dtype=float) > LARGEST_BASE:
            self._fail("the labels that are there already are too large for it")
            return
        values = labels.read(tuple(slice(0, n) for n in labels.shape))
        self._write({"do": "base", "edit": edit_to_json(difference(values * 0, values))})

    def sync(self) -> None:
        """Wait until the disk has it all. May be slow; may be called in another thread."""
        file = self._file
        if file is not None and not file.closed:
            os.fsync(file.fileno())

    def close(self) -> None:
        """No more lines will come."""
        if self._file is not None:
            self.sync()
            self._file.close()
        if self._lock is not None:
            self._lock.release()
        self._file = self._lock = None

    def open_again(self, length: int) -> None:
        """Go on with a journal that was read, after its last whole line.

        Raises
        ------
        OSError
            Another session goes on with it.
        """
        assert self.path is not None
        self._take(self.path)
        self._file = self.path.open("r+b", buffering=0)
        self._file.truncate(length)
        self._file.seek(length)

    def _write(self, value: Mapping[str, Any]) -> None:
        if self.failed:
            return
        try:
            if self._file is None:
                self._begin()
            self._append({**value, "time": _now()})
        except (OSError, JournalError) as error:
            self._fail(str(error))
        else:
            self.lines += 1

    def _fail(self, why: str) -> None:
        self.failed = True
        if self.on_failure is not None:
            self.on_failure(f"The journal is not written any more ({why}): save often.")

    def _append(self, value: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = json.dumps(value, separators=(",", ":"), default=_plain) + "\n"
        self._file.write(line.encode())

    def _begin(self) -> None:
        path = self.path or _free_name(self.source.folder())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._take(path)
        self.path = path
        self._file = path.open("xb", buffering=0)
        header = {"format": FORMAT, "version": VERSION, "napari-sam": version("napari-sam")}
        self._append({**header, "time": _now(), "image": vars(self.source)})

    def _take(self, path: Path) -> None:
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            self._lock = None
            raise JournalError(f"Another window goes on with {path}.") from error


@dataclass(frozen=True)
class Lines:
    """What a journal says.

    Attributes
    ----------
    source
        Its image.
    records
        All whole lines after the header.
    length
        Bytes of the whole lines; what comes after is torn.
    """

    path: Path
    source: Source
    records: tuple[dict[str, Any], ...]
    length: int

    @property
    def steps(self) -> int:
        """How many things were done."""
        return sum(record.get("do") == "step" for record in self.records)

    @property
    def last(self) -> str:
        """When the last line was written, ISO 8601."""
        return str(self.records[-1]["time"]) if self.records else ""


def read_journal(path: str | Path) -> Lines:
    """Read a journal; a torn last line is left out.

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
    values: list[dict[str, Any]] = []
    length = 0
    for line in data.splitlines(keepends=True):
        try:
            value = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            break
        values.append(value)
        length += len(line)
    if not values or values[0].get("format") != FORMAT:
        raise JournalError(f"{path} is no journal of napari-sam.")
    if values[0].get("version") != VERSION:
        raise JournalError(
            f"{path} has version {values[0].get('version')}; this napari-sam reads {VERSION}."
        )
    image = values[0]["image"]
    source = Source(**{**image, "shape": tuple(image["shape"])})
    return Lines(path, source, tuple(values[1:]), length)


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
        The labels do not have the image's pixels.
    """
    if tuple(labels.shape) != lines.source.shape:
        raise JournalError(
            f"{lines.path} is of an image with {lines.source.shape} pixels, these labels have"
            f" {tuple(labels.shape)}."
        )
    document = Document(labels, kept=kept)
    for record in lines.records:
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
    return document


def newest(source: Source) -> Lines | None:
    """The journal of an image that was written last, if it says anything and nobody is at it."""
    folder = source.folder()
    for path in sorted(folder.glob(f"*{SUFFIX}"), reverse=True):
        try:
            with FileLock(f"{path}.lock", timeout=0):
                lines = read_journal(path)
        except (Timeout, JournalError, OSError):
            continue
        if lines.steps and source.is_same(lines.source):
            return lines
    return None


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's."""
    return value.item()


def _free_name(folder: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    return folder / f"{stamp}{SUFFIX}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
