"""Compiled steps of SAM's mask upscaling beside the same in torch."""

import pytest
import torch
import torch.nn.functional as F

from napari_sam.core.native.forming import can_form, place, refine_
from napari_sam.core.native.library import load_library

TYPES = [torch.float32, torch.bfloat16]
SIZES = {"norm_width": 64, "kernel_width": 32}


def skip_unless_compiled(dtype: torch.dtype) -> None:
    if not can_form(dtype, **SIZES):
        pytest.skip("no compiled library for these numbers")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_norm_and_gelu(dtype: torch.dtype, scale: float) -> None:
    skip_unless_compiled(dtype)
    x = (scale * torch.randn(37, 64) + scale).to(dtype)
    weight, bias = 1 + torch.randn(64), torch.randn(64)
    expected = F.gelu(F.layer_norm(x.float(), (64,), weight, bias, 1e-6))
    refine_(x, weight, bias, 1e-6)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(x.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("h", "w", "masks"), [(4, 4, 3), (3, 7, 1), (2, 1, 4)])
def test_logits_come_to_their_places(dtype: torch.dtype, h: int, w: int, masks: int) -> None:
    skip_unless_compiled(dtype)
    # of a cell: row and column of the first, then of the second convolution
    fine = torch.randn(h, w, 2, 2, 2, 2, 32).to(dtype)
    kernels = torch.randn(masks, 32).to(dtype)
    canvas = torch.full((masks, 4 * h, 4 * w), torch.nan)
    for rows in (slice(0, 1), slice(1, h)):
        for half in range(2):
            own = fine[rows, :, half].flatten(0, -2).contiguous()
            place(own, kernels, canvas, rows, half=half)
    logits = torch.einsum("hwabcdk,mk->mhacwbd", fine.float(), kernels.float())
    torch.testing.assert_close(canvas, logits.reshape(canvas.shape), rtol=1e-4, atol=1e-4)


def test_only_what_fits() -> None:
    assert can_form(torch.float32, **SIZES) == (load_library() is not None)
    assert not can_form(torch.float32, norm_width=16, kernel_width=32)
    assert not can_form(torch.float32, norm_width=64, kernel_width=8)
