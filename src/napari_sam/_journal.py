"""Everything that happens to a document, on disk at once: append-only JSON lines.

Knows files and steps; knows no window. A line is handed to the operating system before the step is
over, so that killing the program loses nothing; :meth:`Journal.sync` sees to it that a power cut
does not either. A line is written whole or not at all.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from napari_sam._history import Step
from napari_sam._journal_lines import (
    FORMAT,
    SUFFIX,
    VERSION,
    Lines,
    newest,
    read_journal,
    restore,
)
from napari_sam._label_edit import LabelImage, difference, edit_to_json
from napari_sam._source import Source
from napari_sam._step_json import step_to_json
from napari_sam.errors import JournalError

__all__ = ["Journal", "Lines", "Source", "newest", "read_journal", "restore"]

DAMAGED_SUFFIX = ".damaged"
LARGEST_BASE = 1 << 26  # pixels


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
    chosen
        A folder for many images, instead of the one beside the image.
    """

    source: Source
    path: Path | None = None
    lines: int = 0
    on_failure: Callable[[str], None] | None = None
    failed: bool = False
    chosen: Path | None = None
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
            self.fail("the labels that are there already are too large for it")
            return
        values = labels.read(tuple(slice(0, n) for n in labels.shape))
        self._write({"do": "base", "edit": edit_to_json(difference(values * 0, values))})

    def sync(self) -> None:
        """Wait until the disk has it all. May be slow; may be called in another thread.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        file = self._file
        if file is not None and not file.closed:
            with contextlib.suppress(ValueError):  # closed meanwhile
                os.fsync(file.fileno())

    def close(self) -> None:
        """No more lines will come. A disk that is gone does not hinder it."""
        file, lock = self._file, self._lock
        for end in (self.sync, None if file is None else file.close):
            try:
                if end is not None:
                    end()
            except OSError as error:
                self.fail(str(error))
        self._file = self._lock = None
        if lock is not None:
            lock.release()

    def open_again(self, lines: Lines) -> None:
        """Go on with a journal that was read, after its last whole line.

        What comes after a damaged line is set aside, beside the journal.

        Raises
        ------
        OSError
            It cannot be written.
        JournalError
            Another session goes on with it, or has done so since it was read.
        """
        self.path = lines.path
        self._take(lines.path)
        try:
            file = self._file = lines.path.open("r+b", buffering=0)
            if os.fstat(file.fileno()).st_size != lines.size:
                raise JournalError(f"Another window has added to {lines.path} meanwhile.")
            if lines.damaged:
                _set_aside(lines)
            file.truncate(lines.length)
            file.seek(lines.length)
        except (OSError, JournalError):
            self.close()
            raise
        self.lines = len(lines.records)

    def _write(self, value: Mapping[str, Any]) -> None:
        if self.failed:
            return
        try:
            if self._file is None:
                self._begin()
            self._append({**value, "time": _now()})
        except (OSError, JournalError) as error:
            self.fail(str(error))
        else:
            self.lines += 1

    def fail(self, why: str) -> None:
        """The disk takes no more lines: said once."""
        told, self.failed = self.failed, True
        if self.on_failure is not None and not told:
            self.on_failure(f"The journal is not written any more ({why}): save often.")

    def _append(self, value: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = json.dumps(value, separators=(",", ":"), default=_plain) + "\n"
        left, start = memoryview(line.encode()), self._file.tell()
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):  # a torn last line is not read
                self._file.truncate(start)
            raise

    def _begin(self) -> None:
        path = self.path or _free_name(self.source.folder(self.chosen))
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


def _set_aside(lines: Lines) -> None:
    """Keep the damaged line and those after it, for people."""
    with lines.path.open("rb") as file, lines.path.with_suffix(DAMAGED_SUFFIX).open("ab") as kept:
        file.seek(lines.length)
        kept.write(file.read())
        kept.flush()
        os.fsync(kept.fileno())


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's."""
    return value.item()


def _free_name(folder: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    return folder / f"{stamp}{SUFFIX}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
