"""Masks as compact records: boxes, stability, NMS, small regions, RLE and label images.

Plain functions on numpy arrays; knows neither models nor prompts. Boxes here are those of the
official automatic generator: y0, x0, y1, x1 of the outermost pixels, both ends inclusive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Region = tuple[slice, slice]
Overlap = Literal["smaller_on_top", "score_on_top"]
EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class MaskRecord:
    """One object that the automatic generator found.

    Attributes
    ----------
    patch
        Bool mask of the object within ``region`` only.
    region
        Where the patch lies in the image: half-open slices along y and x.
    shape
        (H, W) of the image.
    score, stability
        Predicted IoU, and IoU between the mask at a raised and at a lowered threshold.
    point
        (y, x) of the prompt.
    crop
        y0, x0, y1, x1 (half-open) of the part of the image that the model saw.
    """

    patch: Mask
    region: Region
    shape: tuple[int, int]
    score: float
    stability: float
    point: tuple[float, float]
    crop: tuple[int, int, int, int]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.patch.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """y0, x0, y1, x1 of the outermost pixels, inclusive."""
        rows, columns = self.region
        return (rows.start, columns.start, rows.stop - 1, columns.stop - 1)

    def mask(self) -> Mask:
        """The mask at the image's size, (H, W)."""
        whole = np.zeros(self.shape, bool)
        whole[self.region] = self.patch
        return whole

    def rle(self) -> dict[str, Any]:
        """Uncompressed run-length code in COCO's order (down the columns, zeros first)."""
        return encode_rle(self.mask())


def tight_region(mask: Mask) -> Region:
    """Smallest region that holds the mask; an empty one at the origin for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (slice(0, 0), slice(0, 0))
    return (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))


def stability_score(logits: NDArray[np.float32], *, threshold: float, offset: float) -> float:
    """IoU of the masks at ``threshold + offset`` and ``threshold - offset``; 0 for no mask at all.

    Kirillov et al. 2023, appendix B. Counts in 64 bits: the official code counts rows in 16, which
    overflows on rows of more than 32,767 pixels.
    """
    low = int(np.count_nonzero(logits > threshold - offset))
    high = int(np.count_nonzero(logits > threshold + offset))
    return high / low if low else 0.0


def non_maximum_suppression(
    boxes: NDArray[Any], scores: NDArray[Any], *, iou_threshold: float
) -> NDArray[np.intp]:
    """Indices of the boxes that stay, best score first (equal scores: first come).

    Parameters
    ----------
    boxes
        (N, 4) y0, x0, y1, x1.
    scores
        (N,).
    iou_threshold
        A box goes when its IoU with a better one is larger.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    y0, x0, y1, x1 = np.asarray(boxes, np.float32).reshape(-1, 4)[order].T
    areas = (y1 - y0) * (x1 - x0)
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if not alive[i]:
            continue
        rest = slice(i + 1, None)
        height = np.minimum(y1[i], y1[rest]) - np.maximum(y0[i], y0[rest])
        width = np.minimum(x1[i], x1[rest]) - np.maximum(x0[i], x0[rest])
        both = np.maximum(height, 0) * np.maximum(width, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = both / (areas[i] + areas[rest] - both)
        alive[rest] &= ~(iou > iou_threshold)
    return order[alive]


def remove_small_regions(mask: Mask, least: int) -> tuple[Mask, bool]:
    """Fill holes and drop islands of fewer than ``least`` pixels (8-neighbourhood).

    The largest island stays even when it is smaller. Returns the mask and whether it changed.
    """
    filled, holes = _drop_components(~mask, least, keep_largest=False)
    cleaned, islands = _drop_components(~filled, least, keep_largest=True)
    return cleaned, holes or islands


def _drop_components(mask: Mask, least: int, *, keep_largest: bool) -> tuple[Mask, bool]:
    components, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    small = sizes < least
    small[0] = False
    if not small.any():
        return mask, False
    if keep_largest and small[1:].all():
        small[1 + sizes[1:].argmax()] = False
    return mask & ~small[components], True


def clean_records(records: Sequence[MaskRecord], least: int, *, iou_threshold: float) -> list[Any]:
    """Apply :func:`remove_small_regions` to each record and drop the duplicates that appear.

    As in the official code, records that did not change win over those that did.
    """
    cleaned, unchanged = [], []
    for record in records:
        mask, changed = remove_small_regions(record.mask(), least)
        if changed:
            region = tight_region(mask)
            record = replace(record, region=region, patch=mask[region])
        cleaned.append(record)
        unchanged.append(float(not changed))
    boxes = np.array([record.box for record in cleaned]).reshape(-1, 4)
    keep = non_maximum_suppression(boxes, np.array(unchanged), iou_threshold=iou_threshold)
    return [cleaned[i] for i in keep]


def encode_rle(mask: Mask) -> dict[str, Any]:
    """COCO's uncompressed run lengths: ``size`` (H, W) and ``counts``, zeros first, by column."""
    flat = mask.T.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    if flat.size and flat[0]:
        counts = [0, *counts]
    return {"size": list(mask.shape), "counts": counts}


def decode_rle(rle: dict[str, Any]) -> Mask:
    """The mask (H, W) of an uncompressed run-length code."""
    height, width = rle["size"]
    values = np.arange(len(rle["counts"])) % 2 == 1
    return np.repeat(values, rle["counts"]).reshape(width, height).T


def records_to_labels(
    records: Sequence[MaskRecord],
    shape: tuple[int, int],
    *,
    overlap: Overlap = "smaller_on_top",
    least_area: int = 0,
    most_area: int | None = None,
    drop_border: bool = False,
) -> NDArray[np.uint32]:
    """Paint records into a label image; record i of those that stay becomes label i + 1.

    Parameters
    ----------
    records, shape
        What to paint, and the size (H, W) of the image.
    overlap
        What wins where records overlap: the smaller object, or the better score.
    least_area, most_area
        Records with fewer or more pixels are left out.
    drop_border
        Leave out records that touch the border of the image.
    """
    largest = shape[0] * shape[1] if most_area is None else most_area
    kept = [
        record
        for record in records
        if least_area <= record.area <= largest
        and not (drop_border and _touches_border(record.box, shape))
    ]
    if overlap == "smaller_on_top":
        order = sorted(range(len(kept)), key=lambda i: -kept[i].area)
    else:
        order = sorted(range(len(kept)), key=lambda i: kept[i].score)
    labels = np.zeros(shape, np.uint32)
    for i in order:
        labels[kept[i].region][kept[i].patch] = i + 1
    return labels


def _touches_border(box: tuple[int, int, int, int], shape: tuple[int, int]) -> bool:
    y0, x0, y1, x1 = box
    return y0 == 0 or x0 == 0 or y1 == shape[0] - 1 or x1 == shape[1] - 1
