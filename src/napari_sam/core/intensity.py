"""From any image to the 8-bit RGB picture that a model sees, by a stated range.

Knows dtypes, channels and ranges; knows no model and no tile. The range is always that of the whole
image (or one given), never of a part: two tiles of one image must look alike.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam.errors import ImageError

IntensityName = Literal["percentile", "per-channel", "as_is"]
Intensity = IntensityName | tuple[float, float]
Range = tuple[float, float]
Picture = NDArray[np.uint8]

PERCENTILES = (0.3, 99.7)
SAMPLE_LIMIT = 1 << 22  # values looked at for a percentile; beyond it, an even stride over them
MOST_CHANNELS_FIRST = 16


def to_picture(
    image: ArrayLike,
    *,
    intensity: Intensity = "percentile",
    channels: tuple[int, ...] | None = None,
) -> Picture:
    """Map an image to what the model sees.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), any real or boolean dtype, H and W at least 1. Values that are not
        finite count as the lowest of the range.
    intensity
        ``"percentile"``: one linear range for all channels, the 0.3 and 99.7 percentiles of the
        image. ``"per-channel"``: the same, channel by channel. ``"as_is"``: uint8 with one or three
        channels, untouched, as the official SAM code takes it. ``(low, high)``: that range.
    channels
        Which channels to take, in this order; None takes all.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8. One channel is repeated three times; three are red, green, blue; two or
        more than three are each brought to their own range and projected by their maximum, so that
        none is dropped. A fourth channel that is constant (an unused alpha) is left out.

    Raises
    ------
    ImageError
        For a wrong number of axes, an empty image, a dtype that is not real, channels that do not
        exist, or ``"as_is"`` of anything but uint8 with one or three channels.
    """
    array = take_channels(check_image(image), channels)
    if intensity == "as_is":
        return _as_is(array)
    count = array.shape[2]
    if not isinstance(intensity, str):
        ranges = [check_range(intensity)] * count
    elif intensity == "percentile" and count in (1, 3):
        ranges = [percentile_range(array)] * count
    elif intensity in ("percentile", "per-channel"):
        ranges = [percentile_range(array[..., c]) for c in range(count)]
    else:
        names = ", ".join(map(repr, get_args(IntensityName)))
        raise ImageError(f"intensity is {intensity!r}; it must be one of {names} or (low, high).")
    return apply_ranges(array, ranges)


def apply_ranges(array: NDArray[np.generic], ranges: Sequence[Range]) -> Picture:
    """Bring each channel of (H, W, C) to its own range (low, high): the picture (H, W, 3)."""
    count = array.shape[2]
    scaled = [rescale(array[..., c], ranges[c]) for c in range(count)]
    if count == 3:
        return np.stack(scaled, axis=-1)
    grey = scaled[0] if count == 1 else np.maximum.reduce(scaled)
    return np.repeat(grey[..., None], 3, axis=-1)


def check_image(image: ArrayLike) -> NDArray[np.generic]:
    """Return the image as (H, W, C), or say what is wrong with it.

    Raises
    ------
    ImageError
        As :func:`to_picture`.
    """
    array = np.asarray(image)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "uif":
        raise ImageError(
            f"the image has dtype {array.dtype}; only real numbers and booleans can be segmented."
        )
    if array.ndim not in (2, 3):
        raise ImageError(
            f"the image has shape {array.shape}; one plane is wanted: (height, width) or"
            " (height, width, channels). Pick a plane of a stack or time series first."
        )
    if array.size == 0:
        raise ImageError(f"the image has shape {array.shape}: it is empty.")
    if array.ndim == 3 and array.shape[0] <= MOST_CHANNELS_FIRST < array.shape[2]:
        raise ImageError(
            f"the image has shape {array.shape}, which looks like channels first; channels come"
            " last here: pass numpy.moveaxis(image, 0, -1), or one plane of the stack."
        )
    return array if array.ndim == 3 else array[..., None]


def take_channels(
    array: NDArray[np.generic], channels: tuple[int, ...] | None
) -> NDArray[np.generic]:
    """Pick channels of an (H, W, C) array; without a choice, leave an unused alpha out.

    Raises
    ------
    ImageError
        If a channel does not exist or none is chosen.
    """
    count = array.shape[2]
    if channels is None:
        if count == 4 and array.dtype == np.uint8 and np.ptp(array[..., 3]) == 0:
            return array[..., :3]
        return array
    if not channels or any(not 0 <= c < count for c in channels):
        raise ImageError(f"channels {channels} were chosen; the image has 0 to {count - 1}.")
    return array[..., list(channels)]


def percentile_range(values: ArrayLike) -> Range:
    """The 0.3 and 99.7 percentiles of the finite values; (0, 0) where there are none.

    Above four million values an even stride over them is looked at, the same every time.
    """
    flat = np.asarray(values).reshape(-1)
    flat = flat[:: max(1, -(-flat.size // SAMPLE_LIMIT))]
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)].astype(np.float64)
    if flat.size == 0:
        return (0.0, 0.0)
    low, high = np.percentile(flat, PERCENTILES)
    if low == high:  # sparse bright objects on a flat ground: the percentiles miss them
        low, high = flat.min(), flat.max()
    return (float(low), float(high))


def check_range(bounds: tuple[float, float]) -> Range:
    """Return (low, high) as floats.

    Raises
    ------
    ImageError
        Unless there are two finite numbers, the first the smaller.
    """
    if len(bounds) != 2 or not np.isfinite(bounds).all() or bounds[0] >= bounds[1]:
        raise ImageError(f"the intensity range is {bounds}; wanted are (low, high), low < high.")
    return (float(bounds[0]), float(bounds[1]))


def rescale(plane: NDArray[np.generic], bounds: Range) -> Picture:
    """Map ``bounds`` to 0 and 255, clipped and rounded; a range of no width gives zeros."""
    low, high = bounds
    if not high > low:
        return np.zeros(plane.shape, np.uint8)
    # Numbers that float32 cannot hold are rare: only 64-bit images pay for the wider arithmetic.
    wide = np.float64 if plane.dtype.itemsize == 8 else np.float32
    values = plane.astype(wide)
    if plane.dtype.kind == "f":
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    # Halves: the width of a range may be more than the largest number.
    scaled = (np.clip(values, low, high) / 2 - wide(low / 2)) / wide(high / 2 - low / 2) * 255
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def _as_is(array: NDArray[np.generic]) -> Picture:
    if array.dtype != np.uint8 or array.shape[2] not in (1, 3):
        raise ImageError(
            f"intensity 'as_is' takes uint8 with one or three channels; this image is"
            f" {array.dtype} with {array.shape[2]}. Use 'percentile' or a range (low, high)."
        )
    picture = array if array.shape[2] == 3 else np.repeat(array, 3, axis=-1)
    return np.asarray(picture, np.uint8)
