"""Between the products of SAM's mask upscaling: norm with GELU, and logits in their places."""

import ctypes

import torch
from torch import Tensor

from napari_sam.core.native.library import address, load_library

__all__ = ["can_form", "place", "refine_"]

_NORM, _FINE = 64, 32
_SIDE = 2  # of each transposed convolution
_NAMES = {torch.float32: "float", torch.bfloat16: "bfloat16"}


def can_form(dtype: torch.dtype, *, norm_width: int, kernel_width: int) -> bool:
    """Whether :func:`refine_` and :func:`place` work here for these sizes and numbers."""
    library = load_library()
    fits = (norm_width, kernel_width) == (_NORM, _FINE)
    return fits and library is not None and hasattr(library, f"refine_{_NAMES[dtype]}")


def refine_(x_NE: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> None:
    """Layer norm and GELU of (N, 64), in place."""
    getattr(load_library(), f"refine_{_NAMES[x_NE.dtype]}")(
        address(x_NE, x_NE.dtype),
        ctypes.c_long(len(x_NE)),
        address(weight, torch.float32),
        address(bias, torch.float32),
        ctypes.c_float(epsilon),
    )


def place(
    fine_NC: Tensor, kernels_MC: Tensor, canvas_MHW: Tensor, rows: slice, *, half: int
) -> None:
    """Write the logits of some rows of cells.

    Parameters
    ----------
    fine_NC
        Features (C = 32): of rows, columns, and of column, row and column of what a cell becomes.
    kernels_MC
        One a mask, of the same number format.
    canvas_MHW
        (M, 4 * h, 4 * w) float32.
    rows
        Of the cells that the features belong to.
    half
        Which row of what the first convolution makes of a cell.
    """
    masks, _, width = canvas_MHW.shape
    first = canvas_MHW[:, rows.start * _SIDE**2 + half * _SIDE]
    getattr(load_library(), f"place_{_NAMES[fine_NC.dtype]}")(
        address(fine_NC, fine_NC.dtype),
        address(kernels_MC, fine_NC.dtype),
        *(ctypes.c_long(each) for each in (masks, rows.stop - rows.start, width // _SIDE**2)),
        ctypes.c_void_p(first.data_ptr()),
        ctypes.c_long(canvas_MHW.stride(0)),
    )
