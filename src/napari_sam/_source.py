"""The image that is annotated, as a journal knows it, and the folders where its journals belong.

Beside the image lies ``<image>.napari-sam``, or in a folder that the user has chosen one for each
image; where nothing can be written, journals are in the user's data folder, under
``napari-sam/projects``.
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

    def folder(self, chosen: Path | None = None) -> Path:
        """Where its journals belong: the first of these folders that can be written."""
        return next(filter(_can_be_written, self.folders(chosen)), self._own())

    def folders(self, chosen: Path | None = None) -> tuple[Path, ...]:
        """Where journals of it may lie: in a chosen folder, beside the image, in the user's own."""
        among = None if chosen is None else self._among(chosen)
        found = (among, self._beside(), self._own())
        return tuple(folder for folder in found if folder is not None)

    def is_same(self, other: "Source") -> bool:
        """Whether a journal of the other image fits this one."""
        return (self.shape, self.fingerprint) == (other.shape, other.fingerprint)

    def _beside(self) -> Path | None:
        path = Path(self.path) if self.path else None
        if path is None or not path.parent.is_dir():
            return None
        return path.with_name(path.name + FOLDER_SUFFIX)

    def _among(self, chosen: Path) -> Path:
        """In a folder for many images: found again where an image of known pixels has moved."""
        name = Path(self.path).name or self.name
        known = [name, self.shape, self.dtype, self.fingerprint or self.path]
        return chosen / f"{_safe(name)}-{_digest(known)}"

    def _own(self) -> Path:
        known = _digest([self.path, self.name, self.shape, self.dtype])
        place = Path(platformdirs.user_data_dir("napari-sam")) / "projects"
        return place / f"{_safe(self.name)}-{known}"


def _safe(name: str) -> str:
    return "".join("_" if letter in UNSAFE else letter for letter in name)[:60]


def _digest(known: object) -> str:
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]


def _can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, or it can be made itself."""
    there = folder if folder.exists() else folder.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def can_take_journals(chosen: Path) -> bool:
    """Whether folders can be made in a folder."""
    return chosen.is_dir() and _can_be_written(chosen)
