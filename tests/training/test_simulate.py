import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.training.params import PromptMix
from napari_sam.training.simulate import (
    PromptBatch,
    corrective_clicks,
    first_prompts,
    tight_boxes,
)

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
    mix = PromptMix(centre=0.3, random=0.2, noisy_box=0.5, scribble=0, coarse_mask=0)
    points, labels, is_box, _ = first_prompts(mask, soften(mask), STRIDE, generator, mix)
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


def ask(kind: str, mask: torch.Tensor) -> PromptBatch:
    generator = torch.Generator().manual_seed(1)
    return first_prompts(mask, soften(mask), STRIDE, generator, PromptMix.parse(f"{kind}=1"))


def boxes_of(answer: PromptBatch) -> torch.Tensor:
    assert answer.is_box.all() and answer.labels.tolist() == [[2, 3]] * len(answer.labels)
    return answer.points.flatten(1)


MANY = blob(16, 12, 24, 40).expand(40, -1, -1)
TIGHT = torch.tensor([12.0, 16.0, 52.0, 40.0])


def test_boxes_are_tight_or_moved_or_larger():
    assert (boxes_of(ask("tight_box", MANY)) == TIGHT).all()
    noisy = boxes_of(ask("noisy_box", MANY)) - TIGHT
    assert (noisy < 0).any() and (noisy > 0).any() and noisy.abs().max() <= 20
    outward = (boxes_of(ask("loose_box", MANY)) - TIGHT) * torch.tensor([-1, -1, 1, 1])
    assert (outward >= 0).all() and outward.max() > 8


def test_centre_clicks_lie_deeper_than_random_ones():
    middle = torch.tensor([32.0, 28.0])
    away = {
        kind: (ask(kind, MANY).points[:, 0] - middle).norm(dim=1).mean()
        for kind in ("centre", "random")
    }
    assert away["centre"] < 0.7 * away["random"]


def test_grid_clicks_lie_on_few_places():
    cells = (ask("grid", MANY).points[:, 0] / STRIDE).long()
    assert len(torch.unique(cells, dim=0)) <= 24 * 40 / 64
    assert ask("grid", blob(30, 30, 3, 3)).labels.tolist() == [[1, -1]]  # none on it: a click


def test_a_scribble_is_several_clicks_inside():
    answer = ask("scribble", MANY)
    clicks = answer.points[:, [0, *range(2, answer.points.shape[1])]]
    assert clicks.shape[1] > 3
    assert (answer.labels[:, 2:] == 1).all()
    inside = (clicks >= TIGHT[:2] - STRIDE) & (clicks <= TIGHT[2:] + STRIDE)
    assert inside.all()
    assert clicks.std(1).mean() > 2  # not all in one place


def test_a_coarse_mask_is_like_the_object_and_comes_without_clicks():
    answer = ask("coarse_mask", MANY)
    assert answer.mask is not None and (answer.labels == -1).all()
    true = soften(MANY) > 0.5
    guessed = answer.mask[:, 0] > 0
    overlap = (true & guessed).sum() / (true | guessed).sum()
    assert 0.3 < overlap < 1
