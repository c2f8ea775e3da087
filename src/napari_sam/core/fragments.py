"""Loose pieces of a mask that no prompt asked for.

A small model paints specks on look-alikes of the object it was asked for. Pieces that hold no
click, or lie beside the box, are taken out of the low-res logits, so that masks, labels and the
mask fed back to the model all agree. Only models whose registry entry asks for it get this: SAM's
answers stay as they are. Knows logits, prompts and frames; no networks.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.core.frame import Frame
from napari_sam.core.prompts import Prompts

EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
REMOVED_LOGIT = -1.0
NEAR = 1  # cells around a click that still count as on it: logits are coarser than clicks
BOX_SHARE = 0.1  # of the largest piece: what a piece must have inside the box to stay


def drop_fragments(
    low_res_logits: NDArray[np.float32], prompts: Prompts, frame: Frame
) -> NDArray[np.float32]:
    """Lower the logits of pieces that no positive click lies on and no box holds.

    Parameters
    ----------
    low_res_logits
        (B, M, h, w), above 0 is object.
    prompts
        The B prompts that they answer. With clicks on the object, pieces under a click stay; with
        a box also those with a tenth of the largest piece's pixels inside it. Where nothing would
        stay, or there is only a mask prompt, the answer is left alone.
    frame
        Of the image.

    Returns
    -------
    numpy.ndarray
        A copy of the same shape; removed pieces are at -1 at most.
    """
    cleaned = low_res_logits.copy()
    for index, candidates in enumerate(cleaned):
        clicks = _click_cells(prompts, index, frame)
        box = _box_cells(prompts, index, frame)
        if not clicks and box is None:
            continue
        for logits in candidates:
            _drop(logits, clicks, box)
    return cleaned


def _drop(
    logits: NDArray[np.float32], clicks: list[tuple[slice, slice]], box: tuple[slice, slice] | None
) -> None:
    """Lower the unwanted pieces of one mask (h, w), in place.

    Looks at the mask's bounding box only: outside it is background, and holes do not reach there.
    """
    mask = logits > 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return
    y, x = int(rows[0]), int(columns[0])
    region = (slice(y, int(rows[-1]) + 1), slice(x, int(columns[-1]) + 1))
    mask, logits = mask[region], logits[region]
    pieces, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    if count < 2:
        return
    # Holes count as part of their piece: a click in the hole of a ring means the ring.
    pieces, count = ndimage.label(fill_holes(mask), EIGHT_NEIGHBOURS)
    if count < 2:
        return
    moved = [_within(cells, y, x) for cells in clicks]
    keep = _wanted(pieces, count, moved, None if box is None else _within(box, y, x))
    if keep.any():
        gone = ~keep[pieces] & mask
        logits[gone] = np.minimum(logits[gone], REMOVED_LOGIT)


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As ``scipy.ndimage.binary_fill_holes``, without its repeated dilations.

    A hole is a piece of background, connected through edges, that does not touch the border.
    """
    background, count = ndimage.label(~mask)
    is_hole = np.ones(count + 1, bool)
    is_hole[0] = False
    for border in (background[0], background[-1], background[:, 0], background[:, -1]):
        is_hole[border] = False
    filled: NDArray[np.bool_] = mask | is_hole[background]
    return filled


def _within(cells: tuple[slice, slice], y: int, x: int) -> tuple[slice, slice]:
    """Cells of the whole mask as cells of its part that begins at (y, x)."""
    rows, columns = cells
    return (
        slice(max(0, rows.start - y), max(0, rows.stop - y)),
        slice(max(0, columns.start - x), max(0, columns.stop - x)),
    )


def _wanted(
    pieces: NDArray[np.int32],
    count: int,
    clicks: list[tuple[slice, slice]],
    box: tuple[slice, slice] | None,
) -> NDArray[np.bool_]:
    """Which pieces (index 0 is background) some prompt speaks for."""
    keep = np.zeros(count + 1, bool)
    for cells in clicks:
        keep[np.unique(pieces[cells])] = True
    if box is not None:
        inside = np.bincount(pieces[box].ravel(), minlength=count + 1)
        inside[0] = 0
        keep |= (inside > 0) & (inside >= BOX_SHARE * inside.max())
    keep[0] = False
    return keep


def _click_cells(prompts: Prompts, index: int, frame: Frame) -> list[tuple[slice, slice]]:
    """Low-res cells at and around each positive click of one object."""
    if prompts.points is None or prompts.point_labels is None:
        return []
    positive = prompts.points[index][prompts.point_labels[index] == 1]
    places = (frame.points_to_model(positive) + 0.5) / frame.mask_stride
    cells = np.clip(places[:, ::-1].astype(int), 0, np.array(frame.low_res) - 1)
    return [
        (slice(max(0, y - NEAR), y + NEAR + 1), slice(max(0, x - NEAR), x + NEAR + 1))
        for y, x in cells.tolist()
    ]


def _box_cells(prompts: Prompts, index: int, frame: Frame) -> tuple[slice, slice] | None:
    """Low-res cells that one object's box covers."""
    if prompts.boxes is None:
        return None
    x0, y0, x1, y1 = (frame.boxes_to_model(prompts.boxes[index][None])[0] + 0.5).tolist()
    stride = frame.mask_stride
    rows = slice(max(0, int(y0 / stride)), max(0, int(y1 / stride)) + 1)
    columns = slice(max(0, int(x0 / stride)), max(0, int(x1 / stride)) + 1)
    return (rows, columns)
