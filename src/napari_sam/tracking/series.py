"""LabelSeries: labels through time, read one frame after the other.

Knows which axis is time; reads files and arrays through ``volume/image``. Knows no tracks.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError
from napari_sam.volume.image import ImageRef

__all__ = ["LabelSeries"]


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
        Whether the file calls z what is taken as time here.
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
            What :meth:`ImageRef.open` takes: a path, an address or an array; or a list of frames
            of one shape.
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
        image = ImageRef.open(np.stack(source) if isinstance(source, list) else source, axes=axes)
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
        return cls(image, spacing or known, renamed)

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
        return labels
