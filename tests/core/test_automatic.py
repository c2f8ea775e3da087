"""The automatic generator without a network; beside the official one in tests/parity."""

import tracemalloc
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.core.automatic import collect, generate, make_crops, select
from napari_sam.core.candidates import Candidates, measure
from napari_sam.core.frame import Frame
from napari_sam.core.masks import MaskRecord
from napari_sam.core.params import AutomaticParams
from napari_sam.errors import PromptError
from napari_sam.progress import Progress
from tests.core.scenes import Blobs, Truth, discs

LOOSE = AutomaticParams(
    points_per_side=5, pred_iou_thresh=0.1, stability_score_thresh=0.0, points_per_batch=7
)


def finish(job: Generator[Progress, None, Any]) -> tuple[Any, list[Progress]]:
    reports = []
    while True:
        try:
            reports.append(next(job))
        except StopIteration as end:
            return end.value, reports


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    params = LOOSE.changed(crop_n_layers=1)
    return finish(collect(image(90, 130), Blobs(), params))[0]


def as_values(records: list[MaskRecord]) -> list[tuple[Any, ...]]:
    return [(r.point, r.crop, r.score, r.area, r.region) for r in records]


@settings(deadline=None, max_examples=8)
@given(
    st.floats(0.1, 0.95),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([0, 40]),
)
def test_moving_a_threshold_is_running_again_with_it(
    candidates: Candidates, iou: float, stability: float, box: float, crop: float, least: int
) -> None:
    params = LOOSE.changed(
        crop_n_layers=1,
        pred_iou_thresh=iou,
        stability_score_thresh=stability,
        box_nms_thresh=box,
        crop_nms_thresh=crop,
        min_mask_region_area=least,
    )
    anew, _ = finish(generate(image(90, 130), Blobs(), params))
    assert as_values(select(candidates, params)) == as_values(anew)


def test_thresholds_of_select_do_something(candidates: Candidates) -> None:
    params = LOOSE.changed(crop_n_layers=1)
    assert (
        0
        < len(select(candidates, params.changed(pred_iou_thresh=0.8)))
        < len(select(candidates, params))
    )
    assert len(select(candidates, params.changed(box_nms_thresh=0.1))) < len(
        select(candidates, params)
    )


def test_candidates_are_columns_of_one_length(candidates: Candidates) -> None:
    n = len(candidates)
    assert n == 3 * 25 * 5
    assert candidates.scores.shape == candidates.stabilities.shape == (n,)
    assert candidates.points.shape == (n, 2)
    assert candidates.crops.shape == candidates.boxes.shape == (n, 4)
    assert candidates.shape == (90, 130)
    assert candidates.prompts == 125


def test_what_was_not_collected_is_said(candidates: Candidates) -> None:
    with pytest.raises(PromptError, match="collect them again"):
        select(candidates, LOOSE.changed(pred_iou_thresh=0.05))
    with pytest.raises(PromptError, match="stability_score_offset=1"):
        select(candidates, LOOSE.changed(stability_score_offset=0.5))


def test_cleaning_is_done_once(candidates: Candidates) -> None:
    params = LOOSE.changed(min_mask_region_area=400, box_nms_thresh=1.0)
    first, again = select(candidates, params), select(candidates, params)
    assert [id(record) for record in first] == [id(record) for record in again]


def test_poor_answers_are_not_asked_for_in_full() -> None:
    predictor = Blobs()
    found, _ = finish(collect(image(60, 60), predictor, LOOSE.changed(pred_iou_thresh=0.7)))
    assert predictor.least_scores == {0.7}
    assert (found.scores > 0.7).all()
    finish(collect(image(60, 60), predictor, LOOSE.changed(pred_iou_thresh=0.0)))
    assert predictor.least_scores == {0.7, -np.inf}


def test_progress_goes_up_to_its_end() -> None:
    for params in (LOOSE.changed(crop_n_layers=1), LOOSE.changed(adaptive=True)):
        _, reports = finish(collect(image(90, 130), Blobs(), params))
        done = [report.done for report in reports]
        assert done == sorted(done)
        assert done[-1] == reports[-1].total


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 2), (64, 64, 5), (40, 3000)])
def test_small_long_and_multichannel_images(shape: tuple[int, ...]) -> None:
    params = LOOSE.changed(points_per_side=32 if shape[1] == 64 else 3, points_per_batch=64)
    records, _ = finish(generate(image(*shape), Blobs(), params))
    assert records
    assert all(record.mask().shape == shape[:2] for record in records)


def test_a_flat_image_is_no_error() -> None:
    params = LOOSE.changed(adaptive=True, points_per_side=8)
    finish(collect(np.zeros((50, 50)), Blobs(), params))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"points_per_side": 0}, "points_per_side is 0"),
        ({"points_per_side": 2.5}, "whole number"),
        ({"crop_n_layers": -1}, "crop_n_layers"),
        ({"crop_overlap_ratio": 1.0}, "crop_overlap_ratio"),
        ({"stability_score_thresh": 1.5}, "0 to 1"),
        ({"pred_iou_thresh": float("nan")}, "finite"),
        ({"box_nms_thresh": -0.1}, "at least 0"),
        ({"stability_score_offset": -1.0}, "stability_score_offset"),
        ({"level": "half"}, "subpart"),
        ({"point_grids": (np.zeros((3, 2)),), "adaptive": True}, "point_grids"),
        ({"point_grids": (np.full((3, 2), 7.0),)}, "outside 0 to 1"),
        ({"point_grids": (np.zeros(4),)}, "shape"),
        ({"point_grids": (np.zeros((3, 2)),), "crop_n_layers": 1}, "2 layers"),
        ({"points": 3}, "no setting"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        AutomaticParams().changed(**changes)


def test_more_crops_than_pixels_are_refused() -> None:
    assert len(make_crops((64, 64), 1, 0.3)) == 5
    with pytest.raises(PromptError, match="at most 2"):
        make_crops((64, 64), 6, 0.3)


def test_stability_of_rows_longer_than_16_bits() -> None:
    frame = Frame.fit((4, 40_000), least=1024, most=1024, multiple=1024, mask_stride=4)
    low_res = np.full(frame.low_res, 5.0, np.float32)
    patch, region, stability = measure(frame, low_res, offset=1.0)
    assert patch.all() and patch.shape == (4, 40_000)
    assert region == (slice(0, 4), slice(0, 40_000))
    assert stability == 1.0


def test_memory_does_not_grow_with_points_times_pixels() -> None:
    side = 1500
    picture = image(side, side, 3)
    params = LOOSE.changed(points_per_side=6, points_per_batch=9)
    blobs = Blobs(radii=(0.7, 0.8, 0.9), side=128)
    tracemalloc.start()
    try:
        found, _ = finish(collect(picture, blobs, params, intensity="as_is"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 3 * 36
    assert np.mean([record.area for record in found.records]) > side**2 / 2
    assert peak < len(found) * side**2 / 8  # less than a bit for each


def test_an_adaptive_grid_finds_the_same_with_fewer_prompts() -> None:
    labels = discs((256, 256), 28, 9)
    picture = (40 + 150 * (labels > 0)).astype(np.uint8)
    picture += image(256, 256) // 16
    params = AutomaticParams(points_per_side=32)
    full, fewer = Truth(labels), Truth(labels)
    all_of_them, _ = finish(generate(picture, full, params))
    found, _ = finish(generate(picture, fewer, replace(params, adaptive=True)))
    assert len(all_of_them) == labels.max()
    assert len(found) >= 0.98 * len(all_of_them)
    assert fewer.asked <= 0.4 * full.asked


def test_levels_are_chosen_after_the_thresholds() -> None:
    params = LOOSE.changed(box_nms_thresh=1.0, points_per_side=2)
    found, _ = finish(collect(image(128, 128), Blobs(), params))
    everything = select(found, params)
    wholes = select(found, params.changed(level="whole"))
    assert len(everything) == 12
    assert len(wholes) == 4
    assert min(r.area for r in wholes) > max(r.area for r in everything if r not in wholes)
