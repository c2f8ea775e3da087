import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sam.core.masks import (
    MaskRecord,
    PackedMask,
    non_maximum_suppression,
    records_to_labels,
    records_to_layers,
    stability_score,
)
from napari_sam.core.regions import clean_patch, remove_small_regions, tight_region
from napari_sam.core.rle import decode_rle, encode_rle

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def record(mask: np.ndarray, score: float = 0.9) -> MaskRecord:
    region = tight_region(mask)
    return MaskRecord(mask[region], region, mask.shape, score, 1.0, (0, 0), (0, 0, *mask.shape))


@given(MASKS)
def test_rle_round_trip(mask: np.ndarray):
    rle = encode_rle(mask)
    assert sum(rle["counts"]) == mask.size
    assert (decode_rle(rle) == mask).all()


def official_rle(mask: np.ndarray) -> dict:
    """Pixel by pixel, down the columns."""
    counts, value = [0], False
    for pixel in mask.T.reshape(-1):
        if pixel != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


@given(MASKS)
def test_rle_of_a_record_is_that_of_its_whole_mask(mask: np.ndarray):
    assert record(mask).rle() == encode_rle(mask) == official_rle(mask)


@given(MASKS)
def test_a_packed_mask_comes_back(mask: np.ndarray):
    packed = PackedMask.pack(mask)
    assert (packed.unpack() == mask).all()
    assert packed.area == mask.sum()


def test_a_large_disc_takes_few_bytes():
    y, x = np.ogrid[:2000, :2000]
    packed = PackedMask.pack((y - 1000) ** 2 + (x - 1000) ** 2 < 900**2)
    assert len(packed.data) < 2000 * 2000 / 8 / 40


@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)),
    st.integers(1, 40),
    st.data(),
)
def test_cleaning_around_the_object_is_cleaning_the_image(
    inner: np.ndarray, least: int, data: st.DataObject
):
    mask = np.pad(inner, [(data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9)))] * 2)
    expected, changed = remove_small_regions(mask, least)
    region = tight_region(mask)
    patch, where, did = clean_patch(mask[region], region, mask.shape, least)
    got = np.zeros_like(mask)
    got[where] = patch
    assert (got == expected).all()
    assert did == changed
    assert where == tight_region(expected) or not patch.size


@given(st.lists(arrays(bool, (9, 11)), max_size=6))
def test_layers_lose_no_pixel(masks: list[np.ndarray]):
    masks = [mask for mask in masks if mask.any()]
    layers = records_to_layers([record(mask) for mask in masks], (9, 11))
    assert layers.shape[1:] == (9, 11)
    for number, mask in enumerate(masks, start=1):
        assert ((layers == number).any(0) == mask).all()
        assert (layers == number).any((1, 2)).sum() == 1


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
