"""The scale at which a model sees an image: numbers only, so that settings need no torch."""

from math import inf


def working_scale(long_side: int, least: int, most: int, enlarge: float = inf) -> float:
    """Scaled pixels per pixel of an image, so that its long side lies within two bounds.

    Parameters
    ----------
    long_side
        Of the image, pixels.
    least, most
        Long side of the scaled image, pixels.
    enlarge
        The scale is no larger than this, even if the long side stays below ``least``.
    """
    return min(min(max(long_side, least), most) / long_side, enlarge)
