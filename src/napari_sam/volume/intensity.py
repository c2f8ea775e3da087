"""One intensity range for a whole volume, so that all its tiles look alike.

Knows the names that ``core/intensity`` knows and takes their ranges from a sample of all planes.
"""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.intensity import (
    Intensity,
    IntensityName,
    Picture,
    Range,
    apply_ranges,
    check_image,
    check_range,
    percentile_range,
    to_picture,
)
from napari_sam.errors import ImageError
from napari_sam.volume.image import ImageRef
from napari_sam.volume.sample import telling_blocks

__all__ = ["VolumeIntensity"]


@dataclass(frozen=True)
class VolumeIntensity:
    """What becomes black and white, channel by channel, in every tile.

    Attributes
    ----------
    ranges
        (low, high) of each channel in ``channels``; None leaves 8-bit values as they are.
    channels
        Which channels are taken, in this order; None for an image without channels.
    """

    ranges: tuple[Range, ...] | None
    channels: tuple[int, ...] | None = None

    @classmethod
    def measure(
        cls,
        image: ImageRef,
        intensity: Intensity = "percentile",
        *,
        channels: tuple[int, ...] | None = None,
    ) -> "VolumeIntensity":
        """Take the ranges from some blocks of the whole volume that show something, or as given.

        Parameters
        ----------
        image
            The volume.
        intensity, channels
            As for :func:`~napari_sam.to_picture`.

        Raises
        ------
        ImageError
            The intensity is unknown or a channel does not exist.
        """
        names = get_args(IntensityName)
        if isinstance(intensity, str) and intensity not in names:
            raise ImageError(f"intensity is {intensity!r}; take one of {names} or (low, high).")
        count = image.channels
        if channels is not None and not (channels and set(range(count or 0)) >= set(channels)):
            there = f"0 to {count - 1}" if count else "no axis c"
            raise ImageError(f"channels {channels} were chosen; the image has {there}.")
        known = not isinstance(intensity, str) or intensity == "as_is"
        sample = [] if known and count != 4 else telling_blocks(image)
        taken = channels or (None if count is None else _all_channels(image, sample))
        number = len(taken) if taken else 1
        if intensity == "as_is":
            return cls(None, taken)
        if not isinstance(intensity, str):
            return cls((check_range(intensity),) * number, taken)
        return cls(_percentiles(sample, intensity, taken or (0,)), taken)

    def picture(self, part: NDArray[Any]) -> Picture:
        """What the model sees of a part (y, x) or (y, x, c) of the volume: (y, x, 3) uint8."""
        array = check_image(part)
        if self.channels is not None:
            array = array[..., list(self.channels)]
        if self.ranges is None:
            return to_picture(array, intensity="as_is")
        return apply_ranges(array, self.ranges)

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        ranges = None if self.ranges is None else [list(pair) for pair in self.ranges]
        return {"ranges": ranges, "channels": list(self.channels) if self.channels else None}


def _all_channels(image: ImageRef, sample: list[NDArray[Any]]) -> tuple[int, ...]:
    """All but an unused alpha, which is decided for the volume and not tile by tile."""
    count = image.channels or 1
    alpha = {int(value) for block in sample for value in np.unique(block[..., -1])[:2]}
    unused = count == 4 and np.dtype(image.dtype) == np.uint8 and len(alpha) == 1
    return tuple(range(3 if unused else count))


def _percentiles(
    sample: list[NDArray[Any]], intensity: str, channels: tuple[int, ...]
) -> tuple[Range, ...]:
    together = intensity == "percentile" and len(channels) in (1, 3)
    values = [np.concatenate([block[..., c].reshape(-1) for block in sample]) for c in channels]
    if together:
        return (percentile_range(np.stack(values, -1)),) * len(channels)
    return tuple(percentile_range(one) for one in values)
