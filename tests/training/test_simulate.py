import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.training.simulate import corrective_clicks, first_prompts, tight_boxes

STRIDE = 4


def blob(y: int, x: int, h: int, w: int, size: int = 64) -> torch.Tensor:
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[0, y : y + h, x : x + w] = True
    return mask


def soften(mask: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(mask[:, None].float(), STRIDE)[:, 0]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 24), st.integers(1, 24))
def test_tight_boxes_are_the_outermost_edges(y: int, x: int, h: int, w: int):
    assert tight_boxes(blob(y, x, h, w)).tolist() == [[x, y, x + w, y + h]]


@settings(max_examples=40)
@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(8, 24), st.integers(8, 24), st.integers()
)
def test_first_clicks_touch_the_object(y: int, x: int, h: int, w: int, seed: int):
    mask = blob(y, x, h, w).expand(8, -1, -1)
    generator = torch.Generator().manual_seed(seed % 2**31)
    points, labels, is_box = first_prompts(mask, soften(mask), STRIDE, generator)
    assert points.shape == (8, 2, 2)
    clicks = points[~is_box, 0]
    assert ((clicks[:, 0] > x - STRIDE) & (clicks[:, 0] < x + w + STRIDE)).all()
    assert ((clicks[:, 1] > y - STRIDE) & (clicks[:, 1] < y + h + STRIDE)).all()
    assert labels[is_box].tolist() == [[2, 3]] * int(is_box.sum())
    assert labels[~is_box].tolist() == [[1, -1]] * int((~is_box).sum())


def test_corrective_clicks_lie_in_the_error_and_carry_its_sign():
    mask = blob(8, 8, 32, 32)
    missed_half = soften(mask) > 0.5
    missed_half[:, :, 6:] = False
    generator = torch.Generator().manual_seed(0)
    points, labels = corrective_clicks(missed_half, mask, soften(mask), STRIDE, generator)
    assert labels.tolist() == [1]
    assert points[0, 0] >= 24
    spilled = torch.ones(1, 16, 16, dtype=torch.bool)
    points, labels = corrective_clicks(spilled, mask, soften(mask), STRIDE, generator)
    assert labels.tolist() == [0]


def test_a_perfect_mask_gets_a_click_inside():
    mask = blob(8, 8, 32, 32)
    generator = torch.Generator().manual_seed(0)
    _, labels = corrective_clicks(soften(mask) > 0.5, mask, soften(mask), STRIDE, generator)
    assert labels.tolist() == [1]
