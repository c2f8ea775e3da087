"""Residual sums and layer norms in one pass over the tokens."""

import ctypes
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from napari_sam.core.native.library import address, load_library
from napari_sam.core.threads import side_by_side

__all__ = ["add_and_normalise", "can_normalise"]

_LANES = 16
_NAMES = {torch.float32: "normalise_float", torch.bfloat16: "normalise_bfloat16"}


def can_normalise(norm: nn.LayerNorm, dtype: torch.dtype) -> bool:
    """Whether :func:`add_and_normalise` takes this norm and number format here."""
    library = load_library()
    (width,) = norm.normalized_shape
    return library is not None and hasattr(library, _NAMES[dtype]) and not width % _LANES


def add_and_normalise(
    x_ND: Tensor, added_ND: Tensor | None, norm: nn.LayerNorm, *, dtype: torch.dtype
) -> Tensor:
    """Add to the residual stream in place, and normalise it.

    Parameters
    ----------
    x_ND
        (N, D) float32, changed.
    added_ND
        (N, D) of ``dtype``, or None to add nothing.
    norm
        With weight and bias.
    dtype
        float32 or bfloat16, of the result.

    Returns
    -------
    Tensor
        (N, D), the norm's.
    """
    out = torch.empty(x_ND.shape, dtype=dtype)
    call = partial(
        getattr(load_library(), _NAMES[dtype]),
        address(x_ND, torch.float32),
        None if added_ND is None else address(added_ND, dtype),
        address(out, dtype),
        address(norm.weight, torch.float32),
        address(norm.bias, torch.float32),
        ctypes.c_long(x_ND.shape[1]),
    )
    count = torch.get_num_threads()
    ends = [len(x_ND) * i // count for i in range(count + 1)]

    def run(first: int, last: int) -> None:
        call(ctypes.c_long(first), ctypes.c_long(last), ctypes.c_float(norm.eps))

    side_by_side([partial(run, first, last) for first, last in pairwise(ends)])
    return out
