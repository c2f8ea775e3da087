"""Masks as compact records, the choice between overlapping ones, and label images of them.

Plain functions on numpy arrays; knows neither models nor prompts. Boxes here are those of the
official automatic generator: y0, x0, y1, x1 of the outermost pixels, both ends inclusive.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Mask, Region, Size, clean_patch
from napari_sam.core.rle import encode_patch

Box = tuple[int, int, int, int]
Overlap = Literal["smaller_on_top", "score_on_top"]
FASTEST = 1  # zlib's level: masks shrink by 10 to 100 even so


@dataclass(frozen=True)
class PackedMask:
    """A bool mask (h, w) in about as many bytes as its outline has pixels.

    Rows are kept as their difference from the row above, a bit a pixel, deflated: at worst an
    eighth of the bool array, for smooth outlines far less.
    """

    size: Size
    area: int
    data: bytes = field(repr=False)

    @classmethod
    def pack(cls, mask: Mask) -> "PackedMask":
        """Keep a mask."""
        bits = np.packbits(mask, axis=1)
        bits[1:] ^= bits[:-1].copy()
        height, width = mask.shape
        return cls(
            (height, width), int(np.count_nonzero(mask)), zlib.compress(bits.tobytes(), FASTEST)
        )

    def unpack(self) -> Mask:
        """The mask again."""
        height, width = self.size
        bits = np.frombuffer(zlib.decompress(self.data), np.uint8).reshape(height, -(-width // 8))
        rows = np.bitwise_xor.accumulate(bits, axis=0) if height else bits
        return np.unpackbits(rows, axis=1, count=width).view(bool)


@dataclass(frozen=True, eq=False, init=False)
class MaskRecord:
    """One object that the automatic generator found.

    Parameters
    ----------
    patch
        Bool mask of the object within ``region`` only.
    region
        Where the patch lies in the image: half-open slices along y and x, the object's bounding
        box.
    shape
        (H, W) of the image.
    score, stability
        Predicted IoU, and IoU between the mask at a raised and at a lowered threshold.
    point
        (y, x) of the prompt.
    crop
        y0, x0, y1, x1 (half-open) of the part of the image that the model saw.
    """

    packed: PackedMask
    region: Region
    shape: Size
    score: float
    stability: float
    point: tuple[float, float]
    crop: Box

    def __init__(
        self,
        patch: Mask,
        region: Region,
        shape: Size,
        score: float,
        stability: float,
        point: tuple[float, float],
        crop: Box,
    ) -> None:
        values = (PackedMask.pack(patch), region, shape, score, stability, point, crop)
        for name, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def patch(self) -> Mask:
        """Mask within :attr:`region`: a new array at each call."""
        return self.packed.unpack()

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.packed.area

    @property
    def box(self) -> Box:
        """y0, x0, y1, x1 of the outermost pixels, inclusive; a corner for an empty mask."""
        rows, columns = self.region
        bottom, right = max(rows.start, rows.stop - 1), max(columns.start, columns.stop - 1)
        return (rows.start, columns.start, bottom, right)

    def mask(self) -> Mask:
        """The mask at the image's size, (H, W)."""
        whole = np.zeros(self.shape, bool)
        whole[self.region] = self.patch
        return whole

    def rle(self) -> dict[str, Any]:
        """Uncompressed run-length code in COCO's order (down the columns, zeros first)."""
        return encode_patch(self.patch, self.region, self.shape)

    def cleaned(self, least: int) -> "MaskRecord":
        """Without holes and islands of fewer than ``least`` pixels; itself if there are none."""
        patch, region, changed = clean_patch(self.patch, self.region, self.shape, least)
        if not changed:
            return self
        return MaskRecord(
            patch, region, self.shape, self.score, self.stability, self.point, self.crop
        )


def boxes_of(records: Sequence[MaskRecord]) -> NDArray[np.int64]:
    """(N, 4) y0, x0, y1, x1, inclusive."""
    return np.array([record.box for record in records], np.int64).reshape(-1, 4)


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
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        sides = np.minimum(corners[rest, 2:], corners[best, 2:])
        sides -= np.maximum(corners[rest, :2], corners[best, :2])
        both = np.maximum(sides, 0).prod(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = both / (areas[best] + areas[rest] - both)
        order = rest[~(iou > iou_threshold)]  # so that 0 / 0 of empty boxes stays
    return np.array(kept, np.intp)


def records_to_labels(
    records: Sequence[MaskRecord],
    shape: Size,
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

    Returns
    -------
    numpy.ndarray
        (H, W), 0 is background. A record that others cover wholly has no pixel here:
        see :func:`records_to_layers`.
    """
    kept = list(fitting(records, shape, least_area, most_area, drop_border))
    if overlap == "smaller_on_top":
        order = sorted(range(len(kept)), key=lambda i: -kept[i].area)
    else:
        order = sorted(range(len(kept)), key=lambda i: kept[i].score)
    labels = np.zeros(shape, np.uint32)
    for i in order:
        labels[kept[i].region][kept[i].patch] = i + 1
    return labels


def records_to_layers(
    records: Sequence[MaskRecord],
    shape: Size,
    *,
    least_area: int = 0,
    most_area: int | None = None,
    drop_border: bool = False,
) -> NDArray[np.uint32]:
    """As :func:`records_to_labels`, but as many label images as it takes to lose no pixel.

    The largest records lie in the first layer, what overlaps them in the next: wholes before parts.

    Returns
    -------
    numpy.ndarray
        (L, H, W), L >= 1. Within a layer nothing overlaps, and each record lies in one layer, under
        the number that it has in :func:`records_to_labels`.
    """
    kept = list(fitting(records, shape, least_area, most_area, drop_border))
    layers = [np.zeros(shape, np.uint32)]
    for i in sorted(range(len(kept)), key=lambda i: -kept[i].area):
        region, patch = kept[i].region, kept[i].patch
        free = (layer for layer in layers if not layer[region][patch].any())
        layer = next(free, None)
        if layer is None:
            layer = np.zeros(shape, np.uint32)
            layers.append(layer)
        layer[region][patch] = i + 1
    return np.stack(layers)


def fitting(
    records: Sequence[MaskRecord],
    shape: Size,
    least_area: int,
    most_area: int | None,
    drop_border: bool,
) -> Iterator[MaskRecord]:
    """The records of a wanted size and place."""
    largest = shape[0] * shape[1] if most_area is None else most_area
    for record in records:
        if least_area <= record.area <= largest and not (
            drop_border and _touches_border(record.box, shape)
        ):
            yield record


def _touches_border(box: Box, shape: Size) -> bool:
    y0, x0, y1, x1 = box
    return y0 == 0 or x0 == 0 or y1 == shape[0] - 1 or x1 == shape[1] - 1
