"""What classical methods make of the same prompts: what a model has to beat.

Knows one grey picture, a click or a box; knows no model. Each method answers with a mask (H, W).
Whether objects are bright or dark is told by the value at the click, which is generous: a user
would have to say it. Settings are fixed for all images.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label as connected_components
from skimage.segmentation import flood, random_walker, watershed

from napari_sam.evaluation.clicks import Box
from napari_sam.evaluation.metrics import Mask

Grey = NDArray[np.float64]
Labels = NDArray[np.int32]

FLOOD_TOLERANCE = 0.1  # of the grey range
PEAK_DISTANCE = 5  # least distance of two watershed seeds in pixels
WALKER_RADIUS = 40  # a random walker from a click sees so many pixels around it
WALKER_BOX_MARGIN = 3
WALKER_BETA = 400.0
SEEDED_SIDE = 512
WALKER_SIDE = 128  # larger windows are thinned out to so many rows and columns


class ClassicalImage:
    """A picture with what the methods share: smoothed grey, thresholds, basins.

    Parameters
    ----------
    picture
        (H, W, 3) uint8, the same that the model sees.
    """

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.grey: Grey = gaussian(picture.mean(2) / 255, 1)

    @cached_property
    def foregrounds(self) -> tuple[Mask, Mask]:
        """Below and above Otsu's threshold."""
        above = self.grey > _otsu(self.grey)
        return (~above, above)

    @cached_property
    def components(self) -> tuple[Labels, Labels]:
        """Pieces of both foregrounds."""
        dark, bright = (connected_components(f, connectivity=1) for f in self.foregrounds)
        return (dark, bright)

    @cached_property
    def basins(self) -> tuple[Labels, Labels]:
        """Both foregrounds, cut where their distance transform has valleys."""
        dark, bright = (_basins(f) for f in self.foregrounds)
        return (dark, bright)

    def polarity(self, y: int, x: int) -> int:
        """1 where the click is on bright ground, else 0."""
        return int(self.foregrounds[1][y, x])


def otsu_component(image: ClassicalImage, y: int, x: int) -> Mask:
    """Take the piece under the click of what Otsu's threshold puts on the click's side."""
    pieces = image.components[image.polarity(y, x)]
    return np.asarray(pieces == pieces[y, x])


def watershed_basin(image: ClassicalImage, y: int, x: int) -> Mask:
    """Take the component, with touching objects cut apart at the necks."""
    basins = image.basins[image.polarity(y, x)]
    return np.asarray((basins == basins[y, x]) & (basins > 0))


def flood_fill(image: ClassicalImage, y: int, x: int) -> Mask:
    """Take the connected pixels within a tenth of the grey range of the clicked value."""
    return np.asarray(flood(image.grey, (y, x), tolerance=FLOOD_TOLERANCE))


def walk_from_click(image: ClassicalImage, y: int, x: int) -> Mask:
    """Walk randomly: the click against the border of a window of 81 x 81 pixels (Grady 2006)."""
    height, width = image.grey.shape
    rows = slice(max(y - WALKER_RADIUS, 0), min(y + WALKER_RADIUS + 1, height))
    columns = slice(max(x - WALKER_RADIUS, 0), min(x + WALKER_RADIUS + 1, width))
    seed = np.zeros(image.grey.shape, bool)
    seed[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    return _walk(image.grey, (rows, columns), seed)


def walk_from_seeds(image: ClassicalImage, positive: Mask, negative: Mask) -> Mask:
    """Walk randomly: strokes (H, W) on the object against strokes beside it, or the image's frame.

    Of large images only every n-th row and column is walked over.
    """
    seeds: NDArray[np.int32] = np.zeros(image.grey.shape, np.int32)
    seeds[positive] = 1
    seeds[negative] = 2
    if not negative.any():
        seeds[[0, -1]] = seeds[:, [0, -1]] = 2
    step = max(1, -(-max(seeds.shape) // SEEDED_SIDE))
    height, width = image.grey.shape
    thin = np.zeros((-(-height // step), -(-width // step)), np.int32)
    for value in (2, 1):  # a stroke may be thinner than a step
        for y, x in np.argwhere(seeds == value):
            thin[y // step, x // step] = value
    return _walked(image.grey[::step, ::step], thin, image.grey.shape, step)


def filled_box(image: ClassicalImage, box: Box) -> Mask:
    """Fill the box."""
    mask = np.zeros(image.grey.shape, bool)
    mask[_region(box)] = True
    return mask


def ellipse_in_box(image: ClassicalImage, box: Box) -> Mask:
    """Fill the ellipse that touches the four sides."""
    return _ellipse(image.grey.shape, box, 1.0)


def otsu_in_box(image: ClassicalImage, box: Box) -> Mask:
    """Threshold the box's own pixels by Otsu, on the side that fills its middle."""
    region = _region(box)
    inside = image.grey[region]
    above = inside > _otsu(inside)
    margin_y, margin_x = inside.shape[0] // 4, inside.shape[1] // 4
    middle = above[margin_y : len(above) - margin_y, margin_x : above.shape[1] - margin_x]
    mask = np.zeros(image.grey.shape, bool)
    mask[region] = above if middle.mean() >= 0.5 else ~above
    return mask


def walk_in_box(image: ClassicalImage, box: Box) -> Mask:
    """Walk randomly: the box's middle half against a frame three pixels outside it."""
    rows, columns = _region(box)
    height, width = image.grey.shape
    wider = (
        slice(max(rows.start - WALKER_BOX_MARGIN, 0), min(rows.stop + WALKER_BOX_MARGIN, height)),
        slice(
            max(columns.start - WALKER_BOX_MARGIN, 0), min(columns.stop + WALKER_BOX_MARGIN, width)
        ),
    )
    return _walk(image.grey, wider, _ellipse(image.grey.shape, box, 0.5))


ClickBaseline = Callable[[ClassicalImage, int, int], Mask]
BoxBaseline = Callable[[ClassicalImage, Box], Mask]
RANDOM_WALKER, BOX_WALKER = "random walker", "random walker in box"
CLICK_BASELINES: Mapping[str, ClickBaseline] = MappingProxyType(
    {
        "Otsu + component": otsu_component,
        "watershed": watershed_basin,
        "flood fill": flood_fill,
        RANDOM_WALKER: walk_from_click,
    }
)
BOX_BASELINES: Mapping[str, BoxBaseline] = MappingProxyType(
    {
        "filled box": filled_box,
        "ellipse in box": ellipse_in_box,
        "Otsu in box": otsu_in_box,
        BOX_WALKER: walk_in_box,
    }
)
SLOW_BASELINES = frozenset({RANDOM_WALKER, BOX_WALKER})


def _region(box: Box) -> tuple[slice, slice]:
    y0, x0, y1, x1 = (round(edge + 0.5) for edge in box)
    return (slice(y0, y1), slice(x0, x1))


def _ellipse(shape: tuple[int, ...], box: Box, part: float) -> Mask:
    """Fill the ellipse with ``part`` of the axes that touch the box's sides."""
    y0, x0, y1, x1 = box
    yy, xx = np.ogrid[: shape[0], : shape[1]]
    dy, dx = (yy - (y0 + y1) / 2) / ((y1 - y0) / 2), (xx - (x0 + x1) / 2) / ((x1 - x0) / 2)
    return np.asarray(dy**2 + dx**2 <= part**2)


def _otsu(values: Grey) -> float:
    return float(threshold_otsu(values)) if np.ptp(values) > 0 else float(values.flat[0])


def _basins(foreground: Mask) -> Labels:
    depth = gaussian(ndimage.distance_transform_edt(foreground), 1.5)
    peaks = peak_local_max(
        depth, min_distance=PEAK_DISTANCE, labels=foreground.astype(np.int32), exclude_border=False
    )
    seeds = np.zeros(foreground.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, seeds, mask=foreground), np.int32)


def _walk(grey: Grey, window: tuple[slice, slice], seed: Mask) -> Mask:
    """Seed, a mask of the whole image, against the window's frame.

    Where the image ends the frame says nothing, since an object may go on: unless it ends on all
    sides, those sides are left open.
    """
    mask = np.zeros(grey.shape, bool)
    view, start = grey[window], seed[window]
    step = max(1, -(-max(view.shape) // WALKER_SIDE))
    seeds = np.zeros(view[::step, ::step].shape, np.int32)
    rows, columns = window
    height, width = grey.shape
    closed = (rows.start > 0, rows.stop < height, columns.start > 0, columns.stop < width)
    sides = (seeds[:1], seeds[-1:], seeds[:, :1], seeds[:, -1:])
    for side, is_closed in zip(sides, closed, strict=True):
        if is_closed or not any(closed):
            side[:] = 2
    seeds[start[::step, ::step]] = 1
    if seeds.all() or (seeds < 2).all() or (seeds != 1).all():
        mask[window] = start  # nothing to walk over, or nobody to walk against
        return mask
    mask[window] = _walked(view[::step, ::step], seeds, view.shape, step)
    return mask


def _walked(grey: Grey, seeds: Labels, shape: tuple[int, ...], step: int) -> Mask:
    """Walk over a thinned picture; the mask (H, W) of seed 1 at the full shape."""
    with warnings.catch_warnings():  # it warns where probabilities leave 0..1 by rounding
        warnings.simplefilter("ignore")
        found = random_walker(grey, seeds, beta=WALKER_BETA, mode="cg_j") == 1
    large = found.repeat(step, 0).repeat(step, 1)
    return np.asarray(large[: shape[0], : shape[1]])
