"""How equal two answers are: embeddings, masks of prompts, and lists of automatic masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Answer
from benchmarks.timing import Agreement

Array = NDArray[np.float32]


def of_embeddings(base: Array, got: Array) -> Agreement:
    """Largest and root mean square difference, over the base's standard deviation."""
    if np.array_equal(base, got):
        return Agreement("equal", {"max_over_spread": 0.0, "rms_over_spread": 0.0})
    largest, typical = _over_spread(base, got)
    return Agreement(
        f"max {largest:.1e}, rms {typical:.1e} of spread",
        {"max_over_spread": largest, "rms_over_spread": typical},
    )


def of_answers(base: Sequence[Answer], got: Sequence[Answer]) -> Agreement:
    """Worst of several answers: low-res logits, and masks where both have them."""
    pairs = list(zip(base, got, strict=True))
    largest = max(_over_spread(a.low_res, b.low_res)[0] for a, b in pairs)
    numbers = {"max_over_spread": largest}
    text = f"logits max {largest:.1e} of spread" if largest else "logits equal"
    masks = [(a.masks, b.masks) for a, b in pairs if a.masks is not None and b.masks is not None]
    if masks:
        differing = sum(int((a != b).sum()) for a, b in masks)
        total = sum(a.size for a, _ in masks)
        least = min(float(iou_of_masks(a, b).min()) for a, b in masks)
        numbers |= {"differing_pixels": differing, "pixels": total, "min_iou": least}
        text += f"; {_pixels(differing, total)}, IoU >= {least:.5f}"
    return Agreement(text, numbers)


def iou_of_masks(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of each (..., H, W) pair; 1 where both are empty."""
    both, either = (a & b).sum((-2, -1)), (a | b).sum((-2, -1))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def _over_spread(base: Array, got: Array) -> tuple[float, float]:
    difference, spread = np.abs(base - got), float(base.std())
    return float(difference.max()) / spread, float(np.sqrt((difference**2).mean())) / spread


def _pixels(differing: int, total: int) -> str:
    if not differing:
        return "masks equal"
    return f"{differing:,} of {total:,} pixels differ"


@dataclass(frozen=True)
class PackedMask:
    """A mask of an automatic generator, eight pixels a byte."""

    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> "PackedMask":
        """Pack an (H, W) mask."""
        return cls(np.packbits(mask))

    def iou(self, other: "PackedMask") -> float:
        """Intersection over union; 1 if both are empty."""
        either = _count(self.bits | other.bits)
        return _count(self.bits & other.bits) / either if either else 1.0

    def differing(self, other: "PackedMask") -> int:
        """Pixels in which they differ."""
        return _count(self.bits ^ other.bits)


def _count(bits: NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def of_mask_lists(base: Sequence[PackedMask], got: Sequence[PackedMask]) -> Agreement:
    """Whether the same masks come in the same order; else how well each is found again."""
    counts: dict[str, float] = {"base_masks": len(base), "masks": len(got)}
    if not base or not got:
        return Agreement(f"{len(got)} masks for {len(base)}", counts)
    if len(base) == len(got):
        ious = [a.iou(b) for a, b in zip(base, got, strict=True)]
        if min(ious) > 0.9:
            differing = sum(a.differing(b) for a, b in zip(base, got, strict=True))
            total = 8 * len(base[0].bits) * len(base)
            numbers = counts | {"differing_pixels": differing, "min_iou": min(ious)}
            text = f"same {len(base)} in order; {_pixels(differing, total)}, IoU >= {min(ious):.5f}"
            return Agreement(text, numbers)
    found = [max(a.iou(b) for b in got) for a in base]
    mean, share = float(np.mean(found)), float(np.mean(np.array(found) > 0.9))
    return Agreement(
        f"{len(got)} masks for {len(base)}; {100 * share:.1f} % found again (IoU > 0.9),"
        f" mean IoU {mean:.4f}",
        counts | {"found_share": share, "mean_iou": mean},
    )
