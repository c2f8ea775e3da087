"""How equality is stated."""

import numpy as np

from benchmarks.agreement import PackedMask, of_answers, of_embeddings, of_mask_lists
from benchmarks.contenders import Answer


def disc(radius: int) -> PackedMask:
    y, x = np.ogrid[:40, :50]
    return PackedMask.of((y - 20) ** 2 + (x - 20) ** 2 < radius**2)


def test_embeddings_over_the_spread_of_the_base() -> None:
    base = np.array([[[0.0, 2.0]]], np.float32)  # standard deviation 1
    assert of_embeddings(base, base.copy()).text == "equal"
    numbers = of_embeddings(base, base + np.array([0, 0.5], np.float32)).numbers
    assert np.isclose(numbers["max_over_spread"], 0.5)
    assert np.isclose(numbers["rms_over_spread"], 0.5 / np.sqrt(2))


def test_worst_mask_of_all_answers_counts() -> None:
    logits = np.array([[[[1.0, -1.0], [1.0, 1.0]]]], np.float32)
    base = Answer(logits > 0, logits, np.ones((1, 1), np.float32))
    flipped = logits * np.array([[-1, 1], [1, 1]], np.float32)
    other = Answer(flipped > 0, flipped, base.scores)
    same = of_answers([base, base], [base, base])
    assert same.text == "logits equal; masks equal, IoU >= 1.00000"
    numbers = of_answers([base, base], [base, other]).numbers
    assert numbers["differing_pixels"] == 1
    assert numbers["pixels"] == 8
    assert np.isclose(numbers["min_iou"], 2 / 3)


def test_mask_lists_in_the_same_order() -> None:
    masks = [disc(5), disc(12)]
    agreement = of_mask_lists(masks, [disc(5), disc(12)])
    assert agreement.text.startswith("same 2 in order; masks equal")
    assert of_mask_lists(masks, []).text == "0 masks for 2"


def test_mask_lists_in_another_order_are_matched() -> None:
    masks = [disc(5), disc(12), disc(18)]
    agreement = of_mask_lists(masks, [disc(12), disc(5), disc(3)])
    assert np.isclose(agreement.numbers["found_share"], 2 / 3)
    assert "same" not in agreement.text
