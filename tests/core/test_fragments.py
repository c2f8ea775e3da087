import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_sam.core.fragments import drop_fragments
from napari_sam.core.frame import Frame
from napari_sam.core.prompts import Prompts

FRAME = Frame((128, 160), (128, 160), (128, 160), 4)


def two_blobs() -> np.ndarray:
    logits = np.full((1, 1, 32, 40), -3.0, np.float32)
    logits[..., 4:12, 4:12] = 3
    logits[..., 20:24, 30:34] = 3
    return logits


def click(y: float, x: float, label: int = 1) -> Prompts:
    return Prompts(points=[[[y, x]]], point_labels=[[label]])


def test_the_piece_under_the_click_stays_alone():
    for at, stays, goes in (((30, 30), (8, 8), (22, 32)), ((88, 128), (22, 32), (8, 8))):
        cleaned = drop_fragments(two_blobs(), click(*at), FRAME)[0, 0]
        assert cleaned[stays] > 0
        assert cleaned[goes] < 0


def test_each_click_keeps_its_piece():
    both = Prompts(points=[[[30, 30], [88, 128]]], point_labels=[[1, 1]])
    assert (drop_fragments(two_blobs(), both, FRAME) == two_blobs()).all()


def test_a_click_beside_every_piece_changes_nothing():
    assert (drop_fragments(two_blobs(), click(120, 5), FRAME) == two_blobs()).all()
    assert (drop_fragments(two_blobs(), click(30, 30, label=0), FRAME) == two_blobs()).all()


def test_a_box_keeps_what_it_holds():
    cleaned = drop_fragments(two_blobs(), Prompts(boxes=[[10, 10, 50, 50]]), FRAME)[0, 0]
    assert cleaned[8, 8] > 0
    assert cleaned[22, 32] < 0
    wide = Prompts(boxes=[[0, 0, 127, 159]])
    assert (drop_fragments(two_blobs(), wide, FRAME) == two_blobs()).all()


def test_a_click_in_the_hole_of_a_ring_means_the_ring():
    logits = two_blobs()
    logits[..., 6:10, 6:10] = -3
    logits[..., 8, 8] = 3
    cleaned = drop_fragments(logits, click(33, 33), FRAME)[0, 0]
    assert cleaned[8, 8] > 0
    assert cleaned[4, 4] > 0
    assert cleaned[22, 32] < 0


def test_a_mask_prompt_alone_changes_nothing():
    logits = two_blobs()
    assert (drop_fragments(logits, Prompts(mask_logits=logits[0]), FRAME) == logits).all()


@given(st.integers(0, 2**31), st.floats(0, 127), st.floats(0, 159))
def test_it_only_ever_removes(seed: int, y: float, x: float):
    logits = np.random.default_rng(seed).standard_normal((1, 3, 32, 40)).astype(np.float32)
    cleaned = drop_fragments(logits, click(y, x), FRAME)
    assert (cleaned <= logits).all()
    assert ((cleaned > 0) <= (logits > 0)).all()
    assert (drop_fragments(cleaned, click(y, x), FRAME) == cleaned).all()
