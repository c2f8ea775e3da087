"""The encoder for GPUs gives the plain encoder's numbers; its logic, on the CPU."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from napari_sam.core import fused_vit
from napari_sam.core.fused_vit import FusedViT, fuse_image_encoder, one_hot_places
from napari_sam.core.modeling.sam import build_sam
from tests.core.test_packed_vit import plain_encoder
from tests.golden.cases import TINY_VIT


@pytest.mark.parametrize("size", [(128, 128), (96, 128), (48, 80), (16, 16), (144, 160)])
def test_same_features_as_the_plain_encoder(size: tuple[int, int]) -> None:
    plain = plain_encoder()
    pictures = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected = plain(pictures)
        got = FusedViT(copy.deepcopy(plain))(pictures)
    assert (got - expected).abs().max() <= 1e-4 * expected.std()


def test_queries_may_go_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = FusedViT(plain_encoder())
    pictures = torch.randn(1, 3, 128, 112)
    with torch.inference_mode():
        whole = fused(pictures)
        monkeypatch.setattr(fused_vit, "MOST_LOGITS", 2 * 56 * 5)
        parts = fused(pictures)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5 * float(whole.std()))


def test_bfloat16_is_near() -> None:
    plain = plain_encoder()
    picture = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        expected = plain(picture)
        with torch.autocast("cpu", torch.bfloat16):
            got = FusedViT(plain)(picture).float()
    assert (got - expected).std() <= 0.05 * expected.std()


class Dtypes(TorchDispatchMode):
    """Notes the number format and the size of all that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()
        self.widest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.seen.add(tensor.dtype)
                self.widest = max(self.widest, tensor.numel())
        return out


def test_no_float64_and_no_bias_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    # The CPU's own attention builds the logits; a GPU's does not. What counts is what we build.
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda q, k, v, *, scale: v + (q + k)[..., :1]
    )
    fused = FusedViT(plain_encoder())
    picture = torch.randn(1, 3, 512, 512)  # 32 x 32 tokens, 2 heads
    with torch.no_grad(), Dtypes() as noted:
        fused(picture)
    assert torch.float64 not in noted.seen
    assert torch.float32 in noted.seen
    assert noted.widest < 2 * 1024 * 1024 / 2


def test_attention_is_asked_without_a_mask_and_in_even_widths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    real = F.scaled_dot_product_attention

    def noted(*args, **kwargs):  # type: ignore[no-untyped-def]
        calls.append((args, kwargs))
        return real(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    with torch.inference_mode():
        FusedViT(plain_encoder())(torch.randn(1, 3, 80, 112))
    assert len(calls) == 3
    for (q, k, _), kwargs in calls:
        assert kwargs == {"scale": 1.0}
        assert q.shape[-1] == k.shape[-1]
        assert q.shape[-1] % 8 == 0


def test_places_are_ones_at_row_and_column() -> None:
    places = one_hot_places((2, 3), like=torch.zeros(1, dtype=torch.bfloat16))
    assert places.dtype == torch.bfloat16
    assert places.tolist() == [
        [1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 0, 1],
        [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 0, 1],
    ]  # fmt: skip


def test_encoders_of_other_kinds_stay() -> None:
    model = build_sam(TINY_VIT)
    encoder = model.image_encoder
    fuse_image_encoder(model)
    assert model.image_encoder is encoder
