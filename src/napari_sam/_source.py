"""The image that is annotated, as a journal knows it, and the folders where its journals belong.

Beside the image lies ``<image>.napari-sam``; where nothing can be written there, the journals are
in the user's data folder, under ``napari-sam/projects``.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

FOLDER_SUFFIX = ".napari-sam"
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
        beside, own = self._beside(), self._own()
        return beside if beside is not None and _can_be_written(beside) else own

    def folders(self) -> tuple[Path, ...]:
        """Where journals of it may lie."""
        beside = self._beside()
        return (self._own(),) if beside is None else (beside, self._own())

    def is_same(self, other: "Source") -> bool:
        """Whether a journal of the other image fits this one."""
        return (self.shape, self.fingerprint) == (other.shape, other.fingerprint)

    def _beside(self) -> Path | None:
        path = Path(self.path) if self.path else None
        if path is None or not path.parent.is_dir():
            return None
        return path.with_name(path.name + FOLDER_SUFFIX)

    def _own(self) -> Path:
        name = "".join("_" if letter in UNSAFE else letter for letter in self.name)[:60]
        known = json.dumps([self.path, self.name, self.shape, self.dtype])
        digest = hashlib.sha256(known.encode()).hexdigest()[:12]
        return Path(platformdirs.user_data_dir("napari-sam")) / "projects" / f"{name}-{digest}"


def _can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or it can be made itself."""
    there = folder if folder.exists() else folder.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
