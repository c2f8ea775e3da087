"""Attention with SAM's decomposed position bias, by the compiled library."""

import ctypes
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from napari_sam.core.native.library import address, load_library
from napari_sam.core.threads import side_by_side

__all__ = ["attend", "can_attend"]

_NAMES = {torch.float32: "attend_float", torch.bfloat16: "attend_bfloat16"}
_WIDTHS = (16, 32, 64, 80)  # of a head
_PIECES = 4  # for each thread, so that one that was late or disturbed costs a quarter at most


def can_attend(width: int, dtype: torch.dtype) -> bool:
    """Whether :func:`attend` takes heads of this width in this number format here."""
    library = load_library()
    return library is not None and width in _WIDTHS and hasattr(library, _NAMES[dtype])


def attend(qkv_N3Hd: Tensor, index_WRC: Tensor, padding_3Hd: Tensor, tables: Tensor) -> Tensor:
    """Attention within windows, all in one pass.

    Parameters
    ----------
    qkv_N3Hd
        (N, 3, H, d) queries, keys and values of N tokens.
    index_WRC
        (W, R, C) int32, the token at each place of W windows; -1 where there is only padding.
    padding_3Hd
        (3, H, d) what a token of the padding has.
    tables
        (2R - 1 + 2C - 1, d) both distance tables, each backwards.

    Returns
    -------
    Tensor
        (N, H * d), of the dtype of ``qkv_N3Hd``, as all of the above.

    Raises
    ------
    MemoryError
        No memory for the keys of a window.
    ValueError
        A tensor is not contiguous, or its numbers are of another format.
    """
    _, _, heads, width = qkv_N3Hd.shape
    windows, rows, columns = index_WRC.shape
    out = torch.empty(len(qkv_N3Hd), heads * width, dtype=qkv_N3Hd.dtype)
    dtype = qkv_N3Hd.dtype
    call = partial(
        getattr(load_library(), _NAMES[dtype]),
        address(qkv_N3Hd, dtype),
        address(out, dtype),
        address(index_WRC, torch.int32),
        address(padding_3Hd, dtype),
        address(tables, dtype),
    )
    pieces = _PIECES * torch.get_num_threads()
    parts = -(-pieces // (windows * heads))  # of the queries of a window
    items = windows * heads * parts

    def run(first: int, last: int) -> None:
        sizes = (ctypes.c_long * 7)(heads, width, rows, columns, parts, first, last)
        if call(sizes, ctypes.c_float(width**-0.5)):
            raise MemoryError("there was no memory for the keys of an attention")

    ends = [items * i // pieces for i in range(pieces + 1)]
    side_by_side([partial(run, first, last) for first, last in pairwise(ends)])
    return out
