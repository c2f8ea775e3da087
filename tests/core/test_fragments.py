import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_sam.core.fragments import (
    EIGHT_NEIGHBOURS,
    REMOVED_LOGIT,
    _box_cells,
    _click_cells,
    _wanted,
    drop_fragments,
    fill_holes,
)
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


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 127), st.floats(0, 159))
def test_it_only_ever_removes(seed: int, y: float, x: float):
    logits = np.random.default_rng(seed).standard_normal((1, 3, 32, 40)).astype(np.float32)
    cleaned = drop_fragments(logits, click(y, x), FRAME)
    assert (cleaned <= logits).all()
    assert ((cleaned > 0) <= (logits > 0)).all()
    assert (drop_fragments(cleaned, click(y, x), FRAME) == cleaned).all()


def random_logits(seed: int, blur: float, level: float) -> np.ndarray:
    """Three fields of blobs, specks and rings: the blurrier, the larger the pieces."""
    noise = np.random.default_rng(seed).standard_normal((1, 3, 32, 40))
    smooth = ndimage.gaussian_filter(noise, (0, 0, blur, blur))
    return (smooth / smooth.std() - level).astype(np.float32)


def drop_over_the_whole_mask(logits: np.ndarray, prompts: Prompts) -> np.ndarray:
    """What the function means, without its shortcuts."""
    cleaned = logits.copy()
    clicks, box = _click_cells(prompts, 0, FRAME), _box_cells(prompts, 0, FRAME)
    for candidate in cleaned[0]:
        mask = candidate > 0
        pieces, count = ndimage.label(ndimage.binary_fill_holes(mask), EIGHT_NEIGHBOURS)
        keep = _wanted(pieces, count, clicks, box)
        if keep.any():
            gone = ~keep[pieces] & mask
            candidate[gone] = np.minimum(candidate[gone], REMOVED_LOGIT)
    return cleaned


seeds, blurs, levels = st.integers(0, 2**31), st.floats(0.3, 4), st.floats(-1.5, 2.5)


@settings(deadline=None)
@given(seeds, blurs, levels, st.floats(0, 127), st.floats(0, 159), st.booleans())
def test_looking_at_the_bounding_box_only_changes_nothing(
    seed: int, blur: float, level: float, y: float, x: float, boxed: bool
):
    logits = random_logits(seed, blur, level)
    box = np.array([[y / 2, x / 2, (y + 127) / 2, (x + 159) / 2]]) if boxed else None
    prompts = Prompts(points=[[[y, x]]], point_labels=[[1]], boxes=box)
    got = drop_fragments(logits, prompts, FRAME)
    assert (got == drop_over_the_whole_mask(logits, prompts)).all()


@settings(deadline=None)
@given(seeds, blurs, levels)
def test_holes_are_those_of_scipy(seed: int, blur: float, level: float):
    for logits in random_logits(seed, blur, level)[0]:
        assert (fill_holes(logits > 0) == ndimage.binary_fill_holes(logits > 0)).all()
