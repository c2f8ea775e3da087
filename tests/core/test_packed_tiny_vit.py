"""The packed TinyViT gives the plain encoder's numbers, on any canvas."""

import pytest
import torch

from napari_sam.core import packed_tiny_vit
from napari_sam.core.modeling.tiny_vit import TinyViT
from napari_sam.core.packed_tiny_vit import PackedTinyViT
from tests.core.modeling.test_tiny_vit import encoder

CANVASES = [(128, 128), (64, 160), (16, 16), (48, 112)]


@pytest.fixture
def plain() -> TinyViT:
    net = encoder().requires_grad_(False)
    generator = torch.Generator().manual_seed(4)
    for name, buffer in net.named_buffers():  # a batch norm that does nothing would hide errors
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2, generator=generator)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=generator)
    return net


@pytest.mark.parametrize("numbers", [1, 3000, 1 << 20], ids=["a row", "some rows", "all rows"])
@pytest.mark.parametrize("canvas", CANVASES)
def test_equals_the_plain_one(
    plain: TinyViT, canvas: tuple[int, int], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_tiny_vit, "NUMBERS_AT_ONCE", numbers)
    picture = torch.randn(2, 3, *canvas)
    expected = plain(picture)
    got = PackedTinyViT(plain, dtype=torch.float32)(picture)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 2e-5 * expected.std()


@pytest.mark.parametrize("canvas", CANVASES)
def test_half_of_the_bits_are_close(plain: TinyViT, canvas: tuple[int, int]) -> None:
    picture = torch.randn(1, 3, *canvas)
    expected = plain(picture)
    got = PackedTinyViT(plain, dtype=torch.bfloat16)(picture)
    assert got.dtype == torch.float32
    error = (got - expected).square().mean().sqrt()
    assert 1e-5 * expected.std() < error < 0.03 * expected.std()
