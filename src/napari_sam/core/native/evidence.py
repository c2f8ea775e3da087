"""What the bundled model's score head sees of some rows of a prompt's masks, in one pass."""

import ctypes

import torch
from torch import Tensor

from napari_sam.core.native.library import address, ready_library

__all__ = ["can_look", "look"]

_MASKS, _KINDS, _FINE = 4, 4, 32
_AROUND = 2  # rows and columns beyond those that are looked at


def can_look(logits_MHW: Tensor, fine_HWC: Tensor) -> bool:
    """Whether :func:`look` works here; the library is not made for its sake."""
    fits = len(logits_MHW) == _MASKS and fine_HWC.shape[-1] == _FINE
    return fits and ready_library() is not None


def look(
    logits_MHW: Tensor, fine_HWC: Tensor, rows: slice, *, certain: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sums over rows of four masks by kind of place: see ``core/packed_micro_score.py``.

    Parameters
    ----------
    logits_MHW
        (4, H, W) of the whole masks.
    fine_HWC
        (H, W, 32) features.
    rows
        Half-open.
    certain
        Probability from which a place may belong to a mask; it surely does above 1 less that.

    Returns
    -------
    count, probability, features, wide, sure, both
        (K, M), (K, M), (K, M, C), (M,), (M,) and (M, M), as of ``Seen``.
    """
    library = ready_library()
    assert library is not None
    _, height, width = logits_MHW.shape
    scratch = torch.empty(
        2 * (rows.stop - rows.start + 8) * (width + 2 * _AROUND), dtype=torch.uint8
    )
    by_kind = torch.zeros(2, _KINDS, _MASKS)
    features = torch.zeros(_KINDS, _MASKS, _FINE)
    of_masks = torch.zeros(2, _MASKS)
    both = torch.zeros(_MASKS, _MASKS)
    sums = (*by_kind, features, *of_masks, both)
    library.look_at_masks(
        address(logits_MHW, torch.float32),
        address(fine_HWC, torch.float32),
        *(ctypes.c_long(each) for each in (height, width, rows.start, rows.stop)),
        ctypes.c_float(certain),
        address(scratch, torch.uint8),
        *(address(each, torch.float32) for each in sums),
    )
    return sums
