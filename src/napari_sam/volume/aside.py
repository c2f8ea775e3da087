"""Files and folders that appear under their names only when they are complete. Knows no format."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["move_there", "remove", "written_aside"]


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to; what is there at the end gets the name.

    Nothing of it is left after an error, and an earlier file or folder is as before.

    Raises
    ------
    OSError
        The disk is full or may not be written.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    remove(part)
    try:
        yield part
        move_there(part, path)
    finally:
        remove(part)


def move_there(part: Path, path: Path) -> None:
    """Give a finished file or folder its name, in place of an earlier one."""
    retired = path.with_name(f".{path.stem}.{os.getpid()}.old{path.suffix}")
    try:
        if path.is_dir():  # a folder cannot be replaced in one step: the old one steps aside
            os.replace(path, retired)
        os.replace(part, path)
    finally:
        if retired.exists() and not path.exists():
            os.replace(retired, path)
        remove(retired)


def remove(path: Path) -> None:
    """Take away a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
