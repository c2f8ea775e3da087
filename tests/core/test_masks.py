import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sam.core.masks import (
    MaskRecord,
    decode_rle,
    encode_rle,
    non_maximum_suppression,
    records_to_labels,
    remove_small_regions,
    stability_score,
    tight_region,
)

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def record(mask: np.ndarray, score: float = 0.9) -> MaskRecord:
    region = tight_region(mask)
    return MaskRecord(mask[region], region, mask.shape, score, 1.0, (0, 0), (0, 0, *mask.shape))


@given(MASKS)
def test_rle_round_trip(mask: np.ndarray):
    rle = encode_rle(mask)
    assert sum(rle["counts"]) == mask.size
    assert (decode_rle(rle) == mask).all()


@given(MASKS)
def test_record_holds_the_mask_in_its_region(mask: np.ndarray):
    made = record(mask)
    assert (made.mask() == mask).all()
    assert made.area == mask.sum()


def test_nms_keeps_the_best_of_overlapping_boxes():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]]
    assert non_maximum_suppression(boxes, [0.5, 0.9, 0.1], iou_threshold=0.7).tolist() == [1, 2]


@given(st.integers(0, 2**31), st.integers(0, 30), st.floats(0.1, 0.9))
def test_nms_leaves_no_overlap_and_drops_nothing_needlessly(seed: int, n: int, limit: float):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (n, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 20, (n, 2))], 1)
    scores = rng.random(n)
    kept = non_maximum_suppression(boxes, scores, iou_threshold=limit)

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        both = np.prod(np.maximum(sides, 0))
        return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)

    assert (np.diff(scores[kept]) <= 0).all()
    for i in range(n):
        better = [k for k in kept if scores[k] > scores[i]]
        assert (i in kept) == all(iou(boxes[i], boxes[k]) <= limit for k in better)


def test_stability_counts_beyond_16_bits():
    logits = np.full((1, 40_000), 5.0, np.float32)
    assert stability_score(logits, threshold=0.0, offset=1.0) == 1.0
    assert stability_score(-logits, threshold=0.0, offset=1.0) == 0.0


def test_small_holes_are_filled_and_islands_dropped():
    mask = np.zeros((30, 30), bool)
    mask[5:20, 5:20] = True
    mask[10, 10] = False
    mask[25, 25] = True
    cleaned, changed = remove_small_regions(mask, 4)
    assert changed
    assert cleaned[10, 10]
    assert not cleaned[25, 25]
    assert not remove_small_regions(cleaned, 4)[1]


def test_the_largest_island_stays_though_it_is_small():
    mask = np.zeros((30, 30), bool)
    mask[3:5, 3:5] = True
    mask[20, 20] = True
    cleaned, _ = remove_small_regions(mask, 50)
    assert cleaned.sum() == 4


@pytest.mark.parametrize(("overlap", "top"), [("smaller_on_top", 2), ("score_on_top", 1)])
def test_overlap_rules(overlap: str, top: int):
    large, small = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    large[1:8, 1:8] = True
    small[3:5, 3:5] = True
    labels = records_to_labels([record(large, 0.9), record(small, 0.5)], (9, 9), overlap=overlap)
    assert labels[4, 4] == top
    assert labels[1, 1] == 1


def test_size_and_border_filters():
    mask = np.zeros((9, 9), bool)
    mask[0:3, 0:3] = True
    assert not records_to_labels([record(mask)], (9, 9), drop_border=True).any()
    assert not records_to_labels([record(mask)], (9, 9), least_area=10).any()
    assert not records_to_labels([record(mask)], (9, 9), most_area=8).any()
    assert records_to_labels([record(mask)], (9, 9)).sum() == 9
