"""The packed encoder gives the plain encoder's numbers, on any grid and in both precisions."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam.core import packed_vit
from napari_sam.core.packed_vit import PackedViT, pack_linear
from napari_sam.core.windows import window_order
from tests.golden.cases import SEED, VIT
from tests.golden.seeded import seeded_tensor


def plain_encoder() -> torch.nn.Module:
    from napari_sam.core.modeling.sam import build_sam

    sam = build_sam(VIT).eval().requires_grad_(False)
    for key, tensor in sam.state_dict().items():
        tensor.copy_(seeded_tensor(key, tuple(tensor.shape), SEED))
    return sam.image_encoder


pytestmark = pytest.mark.usefixtures("both_ways")


def test_the_compiled_library_is_used_where_it_can_be(request: pytest.FixtureRequest):
    """It falls back silently, so that a fault in making it would only show as lost time."""
    assert PackedViT(plain_encoder()).compiled == ("[compiled" in request.node.name)


@pytest.mark.parametrize("size", [(128, 128), (96, 128), (48, 80), (16, 16), (144, 160)])
def test_same_features_as_the_plain_encoder(size: tuple[int, int]):
    plain = plain_encoder()
    packed = PackedViT(copy.deepcopy(plain))
    picture = torch.randn(2, 3, *size)
    expected = plain(picture)
    got = packed(picture)
    assert (got - expected).abs().max() <= 1e-4 * expected.std()


def test_bfloat16_is_near():
    plain = plain_encoder()
    packed = PackedViT(copy.deepcopy(plain), dtype=torch.bfloat16)
    picture = torch.randn(1, 3, 128, 128)
    expected = plain(picture)
    assert (packed(picture) - expected).std() <= 0.05 * expected.std()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_the_private_operators_are_used():
    """They fall back silently, so that a wrong call would only show as lost speed."""
    assert packed_vit._packing_works(torch.float32)


def test_without_the_private_operators_the_numbers_stay(monkeypatch: pytest.MonkeyPatch):
    plain = plain_encoder()
    monkeypatch.setattr(packed_vit, "_packing_works", lambda dtype: False)
    packed = PackedViT(copy.deepcopy(plain))
    picture = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(packed(picture), plain(picture), rtol=1e-4, atol=1e-4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
def test_window_order_is_a_permutation_with_windows_together(h: int, w: int, side: int):
    order = window_order((h, w), side)
    assert sorted(order.to_windows.tolist()) == list(range(h * w))
    assert order.to_windows[order.to_raster].tolist() == list(range(h * w))
    assert sum(g.count * g.rows * g.columns for g in order.groups) == h * w
    start = 0
    for group in order.groups:
        for _ in range(group.count):
            tokens = order.to_windows[start : start + group.rows * group.columns]
            windows = {(int(t) // w // side, int(t) % w // side) for t in tokens}
            assert len(windows) == 1
            start += len(tokens)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_packed_linear(rows: int, inner: int, outer: int, gelu: bool, biased: bool):
    x, weight = torch.randn(rows, inner), torch.randn(outer, inner)
    bias = torch.randn(outer) if biased else None
    expected = torch.nn.functional.linear(x, weight, bias)
    if gelu:
        expected = torch.nn.functional.gelu(expected)
    got = pack_linear(weight, bias, dtype=torch.float32, rows=rows, gelu=gelu)(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
