"""LabelSeries: labels through time, read one frame after the other.

Knows which axis is time; reads files and arrays through ``volume/image``. Knows no tracks.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError
from napari_sam.tracking.folder import FrameFolder, has_frames
from napari_sam.volume.image import ImageRef

__all__ = ["LabelSeries"]

_HIGHEST = 2**52  # with room for new ones: tables of tracks are floating point


@dataclass(frozen=True, eq=False)
class LabelSeries:
    """Labels (t, [z,] y, x) in a file or in memory. Made by :meth:`open`.

    Attributes
    ----------
    image
        What is read; its axes name the time.
    spacing
        Size of a voxel ([z,] y, x), in the image's units; 1 where unknown.
    renamed
        Whether a file calls z, or does not name, what is taken as time here.
    """

    image: ImageRef
    spacing: tuple[float, ...]
    renamed: bool = False

    @classmethod
    def open(
        cls, source: Any, *, axes: str | None = None, spacing: tuple[float, ...] | None = None
    ) -> "LabelSeries":
        """Look at labels without reading them.

        Parameters
        ----------
        source
            What :meth:`ImageRef.open` takes: a path, an address or an array; a list of frames of
            one shape; or a folder with a TIFF or PNG for each frame, in the order of their names.
        axes
            One letter of ``tzyx`` for each axis. None takes what the file says; a stack without
            time has its z taken as time.
        spacing
            Size of a voxel ([z,] y, x); None takes what the file says.

        Raises
        ------
        ImageError
            There is no time, there are channels, labels are no whole numbers, or the spacing does
            not fit.
        """
        array = _as_array(source)
        image = ImageRef.open(array, axes=axes)
        renamed = "t" not in image.axes and "z" in image.axes
        if renamed:
            image = replace(image, axes=image.axes.replace("z", "t"))
        if "t" not in image.axes:
            raise ImageError(
                f"{image.describe()}: there is no time in it. Frames of one shape are wanted as"
                " t, y, x or t, z, y, x."
            )
        if image.channels is not None:
            raise ImageError(
                f"{image.describe()}: labels have no channels. If c is the time, say so with the"
                " axes (such as tyx)."
            )
        if np.dtype(image.dtype).kind not in "ui":
            raise ImageError(
                f"{image.describe()}: labels are whole numbers, one for each object of a frame."
                " Label connected regions first."
            )
        known = image.spacing if "z" in image.axes else image.spacing[1:]
        if spacing is not None and (len(spacing) != len(known) or min(spacing) <= 0):
            raise ImageError(
                f"the spacing is {spacing}; wanted are {len(known)} numbers above 0, in the order"
                f" {'z, y, x' if len(known) == 3 else 'y, x'}."
            )
        named = isinstance(source, str | Path) and array is source
        return cls(image, spacing or known, renamed and named)

    def measured(self, image: ImageRef, *, keep: bool = False) -> "LabelSeries":
        """The same labels with the voxel size and units of their image.

        Parameters
        ----------
        image
            Of the same z, y and x; channels and times do not matter.
        keep
            Keep the spacing, take the units alone.

        Raises
        ------
        ImageError
            It has other pixels.
        """
        depth = self.image.depth
        if image.size != self.image.size or (depth > 1 and image.depth != depth):
            raise ImageError(
                f"{image.describe()}: it is no image of the labels {self.image.describe()}."
            )
        units = dict(zip(image.axes, image.units, strict=True))
        named = replace(self.image, units=tuple(units.get(axis) for axis in self.image.axes))
        spacing = image.spacing[-len(self.spacing) :]
        return replace(self, image=named, spacing=self.spacing if keep else spacing)

    @property
    def unit(self) -> str | None:
        """Of the spacing, as OME-Zarr names it; None where unknown."""
        return dict(zip(self.image.axes, self.image.units, strict=True)).get("x")

    @property
    def axes(self) -> str:
        """``tyx`` or ``tzyx``: of :attr:`shape`, whatever the order in the file."""
        return "tzyx" if "z" in self.image.axes else "tyx"

    @property
    def shape(self) -> tuple[int, ...]:
        """(t, [z,] y, x)."""
        depth = (self.image.depth,) if "z" in self.image.axes else ()
        return (self.image.times, *depth, *self.image.size)

    def __len__(self) -> int:
        """How many frames there are."""
        return self.image.times

    def frame(self, time: int) -> NDArray[Any]:
        """Labels ([z,] y, x) of a frame, 0 is background.

        Raises
        ------
        ImageError
            There is no such frame, it cannot be read, or has labels below 0.
        """
        planes = [self.image.read((time, z)) for z in range(self.image.depth)]
        labels = np.stack(planes) if "z" in self.image.axes else planes[0]
        if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
            raise ImageError(
                f"{self.image.name} has the label {labels.min()} in frame {time}; labels are 0 for"
                " background and above 0 for objects."
            )
        if labels.dtype.itemsize == 8 and labels.max(initial=0) > _HIGHEST:
            raise ImageError(
                f"{self.image.name} has the label {labels.max()} in frame {time}; tracks have"
                f" numbers up to {_HIGHEST}. Renumber the labels first."
            )
        return labels


def _as_array(source: Any) -> Any:
    """What :class:`ImageRef` takes as one, of frames that come one by one."""
    if isinstance(source, list):
        return np.stack(source)
    if isinstance(source, str | Path) and has_frames(Path(source)):
        return FrameFolder.of(Path(source))
    return source
