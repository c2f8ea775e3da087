"""A folder of label images, one file a frame, as one array that is read when sliced."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_sam.errors import ImageError

__all__ = ["FrameFolder", "has_frames"]

_ENDINGS = (".tif", ".tiff", ".png")


def has_frames(folder: Path) -> bool:
    """Whether it is a folder with pictures in it."""
    return folder.is_dir() and any(path.suffix.lower() in _ENDINGS for path in folder.iterdir())


@dataclass(frozen=True, eq=False)
class FrameFolder:
    """TIFF or PNG files as (t, [z,] y, x). Made by :meth:`of`.

    Attributes
    ----------
    paths
        Of the frames, in their order.
    """

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> "FrameFolder":
        """The pictures of a folder, in the order of their names.

        Raises
        ------
        ImageError
            There are none, or of several kinds.
        """
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
        if not found:
            raise ImageError(f"{folder} has no {', '.join(_ENDINGS)} files in it.")
        if len(kinds := {path.suffix.lower() for path in found}) > 1:
            raise ImageError(
                f"{folder} has files of several kinds in it, {', '.join(sorted(kinds))}: one of"
                " them is wanted, a file for each frame."
            )
        return cls(tuple(found))

    @cached_property
    def _first(self) -> NDArray[Any]:
        return self._read(self.paths[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, [z,] y, x)."""
        return (len(self.paths), *self._first.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the first frame."""
        return self._first.dtype

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        """Part of one frame.

        Raises
        ------
        ImageError
            Its file cannot be read, or its size is another one.
        """
        path = self.paths[index[0]]
        labels = self._read(path)
        if labels.shape != self._first.shape:
            raise ImageError(
                f"{path.name} has the shape {labels.shape}, {self.paths[0].name} before it"
                f" {self._first.shape}: all frames must have one size."
            )
        part: NDArray[Any] = labels[index[1:]]
        return part

    def _read(self, path: Path) -> NDArray[Any]:
        try:
            if path.suffix.lower() == ".png":
                return np.asarray(Image.open(path))
            return np.asarray(tifffile.imread(path))
        except Exception as error:  # each reader has errors of its own
            raise ImageError(f"{path} cannot be read as a picture: {error}") from error
