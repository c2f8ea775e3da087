"""The first questions to an image in one compiled pass beside the same in torch."""

import pytest
import torch
import torch.nn.functional as F

from napari_sam.core.native.first import FirstQuestions, HintLayer, can_ask_first
from napari_sam.core.native.library import load_library

HEADS, WIDTH, HIDDEN = 4, 16, 32


@pytest.mark.skipif(load_library() is None, reason="no compiled library")
@pytest.mark.parametrize("sharpness", [0.1, 10.0])
@pytest.mark.parametrize(
    ("part", "tokens", "features", "more"),
    [
        (slice(0, 600), 7, 3, 1),
        (slice(3, 4), 1, 0, 1),
        (slice(250, 530), 16, 9, 1),
        (slice(0, 256), 8, 6, 32),
        (slice(17, 600), 5, 3, 9),
    ],
)
def test_equals_torch(part: slice, tokens: int, features: int, more: int, sharpness: float) -> None:
    count, rank = 600, HIDDEN + more
    queries = sharpness * torch.randn(tokens, HEADS, WIDTH).transpose(0, 1)  # as heads are cut
    folded = torch.randn(HEADS, tokens, rank) / 8
    keys, values = torch.randn(HEADS, WIDTH, count), torch.randn(HEADS, count, WIDTH)
    codes = torch.randn(rank, count)
    before = codes.clone()
    weight = torch.randn(HIDDEN, 9)[:, :features]  # as columns are taken of a wider one
    hints = HintLayer(torch.rand(features, count), weight, torch.randn(HIDDEN))
    assert can_ask_first(queries, rank)

    mixed, weights = FirstQuestions(queries, folded, keys, values, codes, hints)(part)

    hidden = hints.bias[:, None] + weight @ hints.features[:, part]
    torch.testing.assert_close(codes[:HIDDEN, part], F.gelu(hidden), rtol=1e-5, atol=1e-5)
    before[:HIDDEN, part] = codes[:HIDDEN, part]
    assert codes.equal(before), "written beside the slice"
    logits = queries @ keys[:, :, part] + folded @ codes[:, part]
    shares = logits.softmax(-1)
    expected = torch.cat([shares @ values[:, part], shares @ codes[:, part].t()], -1)
    torch.testing.assert_close(mixed, expected.flatten(0, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weights, logits.logsumexp(-1).flatten(), rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(load_library() is None, reason="no compiled library")
def test_what_does_not_fit_is_refused_not_left_undone() -> None:
    queries, folded = torch.zeros(HEADS, 17, WIDTH), torch.zeros(HEADS, 17, 33)  # 80 rows
    hints = HintLayer(torch.zeros(3, 9), torch.zeros(HIDDEN, 3), torch.zeros(HIDDEN))
    keys, values = torch.zeros(HEADS, WIDTH, 9), torch.zeros(HEADS, 9, WIDTH)
    with pytest.raises(ValueError, match="80"):
        FirstQuestions(queries, folded, keys, values, torch.zeros(33, 9), hints)(slice(0, 9))


def test_only_what_fits() -> None:
    fits = torch.zeros(HEADS, 16, WIDTH)
    assert can_ask_first(fits, 64) == (load_library() is not None)
    assert not can_ask_first(fits, 65)
    assert not can_ask_first(torch.zeros(HEADS, 17, WIDTH), 33)
    assert not can_ask_first(torch.zeros(HEADS, 16, 8), 33)
