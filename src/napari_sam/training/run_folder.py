"""The folder of a fine-tuning run as those see it who look on: what is written there, and by whom.

The run writes how far it is, its curves and a picture; whoever looks on may leave a file that makes
it wait. Knows files only: no torch, no window.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from napari_sam.core.registered import models_folder
from napari_sam.progress import Progress

LOG = "log.jsonl"  # a line every few steps: loss, and IoU of the crops
VALIDATION_LOG = "validation.jsonl"  # a line for each look at the images set aside
RESULT = "result.json"  # written last
PAUSE = "pause"  # while there is a file of this name the run waits
ORDER = "order.json"  # what a window has asked for
PROGRESS = "progress.json"
PICTURE = "sample.png"
LOCK = "lock"
RUNS = "runs"

Line = Mapping[str, Any]


@dataclass(frozen=True)
class RunReport(Progress):
    """How a run stands; itself a :class:`~napari_sam.progress.Progress`.

    Attributes
    ----------
    log, validations
        The lines of its curves, in the order of steps. ``seconds`` are of training.
    picture
        Its picture of a validation image as (path, time of the file); None: there is none yet.
    result
        What it has come to; None while it goes on.
    """

    log: tuple[Line, ...] = ()
    validations: tuple[Line, ...] = ()
    picture: tuple[Path, int] | None = None
    result: Line | None = None


def runs_folder() -> Path:
    """Where runs that a window starts lie, each in a folder of its model's name."""
    return models_folder() / RUNS


def read_report(folder: Path, before: RunReport | None = None) -> RunReport:
    """How the run in a folder stands; what cannot be read is as it was ``before``."""
    report = before or RunReport(0, 0, "starting")
    progress = _read_json(folder / PROGRESS)
    if progress is not None:
        report = replace(report, **progress)
    try:
        picture = (folder / PICTURE, (folder / PICTURE).stat().st_mtime_ns)
    except OSError:
        picture = None
    return replace(
        report,
        log=_read_lines(folder / LOG),
        validations=_read_lines(folder / VALIDATION_LOG),
        picture=picture,
        result=_read_json(folder / RESULT),
    )


def write_progress(folder: Path, progress: Progress) -> None:
    """Say how far the run is."""
    said = {"done": progress.done, "total": progress.total, "message": progress.message}
    write_json(folder / PROGRESS, said)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(partial, path)


def unfinished() -> dict[str, dict[str, Any]]:
    """What was asked for of each run that was begun in a window and has no result, by name."""
    found = {}
    for path in sorted(runs_folder().glob(f"*/{ORDER}")):
        order = _read_json(path)
        if order is not None and not (path.parent / RESULT).exists():
            found[path.parent.name] = order
    return found


def forget(name: str) -> None:
    """Delete the folder of a run."""
    shutil.rmtree(runs_folder() / name, ignore_errors=True)


def pause(folder: Path, wanted: bool) -> None:
    """Let the run in a folder wait after its next step, or go on."""
    if wanted:
        (folder / PAUSE).touch()
    else:
        (folder / PAUSE).unlink(missing_ok=True)


def lock_of(folder: Path) -> FileLock:
    """Held by the program that trains in a folder: two would spoil each other's files."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / LOCK)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_lines(path: Path) -> tuple[Line, ...]:
    """Complete lines; a line that is being written is left for the next time."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return ()
    found = []
    for line in text.split("\n")[:-1]:
        try:
            found.append(json.loads(line))
        except ValueError:  # cut short when the program was killed
            continue
    return tuple(found)
