"""Upscaling a region alone beside the two whole interpolations."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_sam.core import upscale
from napari_sam.core.frame import Frame
from napari_sam.core.predictor import MaskPrediction
from napari_sam.core.regions import tight_region
from napari_sam.core.upscale import (
    columns,
    region_above,
    restore_mask,
    restore_masks,
    restore_region,
    rows,
)
from napari_sam.errors import OutOfMemoryError
from tests.core.frames import FRAMES, SHAPES, frames_and_regions, noise


def whole(frame: Frame, low: np.ndarray) -> np.ndarray:
    return frame.restore(torch.from_numpy(low)[None, None])[0, 0].numpy()


@settings(deadline=None)
@given(frames_and_regions(), st.integers(0, 99))
def test_a_region_is_a_piece_of_the_whole(
    place: tuple[Frame, tuple[slice, slice]], seed: int
) -> None:
    frame, region = place
    low = noise(frame, seed)
    got = restore_region(frame, low, region)
    np.testing.assert_allclose(got, whole(frame, low)[region], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(3001, 700), (64, 64), (1, 900)])
def test_sizes_of_sam(size: tuple[int, int]) -> None:
    frame = Frame.fit(size, least=1024, most=1024, multiple=1024, mask_stride=4)
    low = noise(frame, 1)
    got = restore_region(frame, low, (slice(0, size[0]), slice(0, size[1])))
    np.testing.assert_allclose(got, whole(frame, low), atol=1e-5 * np.abs(low).max(), rtol=0)


@given(FRAMES)
def test_weights_are_means_of_few_cells(frame: Frame) -> None:
    for band in (rows(frame), columns(frame)):
        assert band.taps <= 3
        assert (band.weights >= 0).all()
        np.testing.assert_allclose(band.weights.sum(1), 1, atol=1e-6)
        assert (np.diff(band.first) >= 0).all()


@settings(deadline=None)
@given(FRAMES, st.integers(0, 99), st.sampled_from([-1.0, 0.0, 1.0]))
def test_nothing_is_above_the_level_outside_its_region(
    frame: Frame, seed: int, level: float
) -> None:
    low = noise(frame, seed, bias=-22)
    above = whole(frame, low) > level + 1e-4
    above[region_above(frame, low, level)] = False
    assert not above.any()


@settings(deadline=None)
@given(FRAMES, st.integers(0, 99), st.sampled_from([-60.0, -22.0, 0.0]))
def test_a_patch_is_cut_out_of_the_full_mask(frame: Frame, seed: int, bias: float) -> None:
    low = noise(frame, seed, bias)
    logits = whole(frame, low)
    assume(np.abs(logits).min() > 1e-4)
    scores = np.array([[0.5]], np.float32)
    patch, region = MaskPrediction(low[None, None], scores, frame).patch(0)
    assert region == tight_region(logits > 0) or not patch.size
    assert (patch == (logits > 0)[region]).all()
    assert patch.sum() == (logits > 0).sum()


def test_no_object_is_an_empty_patch() -> None:
    frame = Frame.fit((50, 70), **SHAPES[0])
    patch, region = restore_mask(frame, np.full(frame.low_res, -32.0, np.float32))
    assert patch.shape == (0, 0)
    assert region == (slice(0, 0), slice(0, 0))


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [(1200, 1800), (601, 337), (64, 64), (1, 900)])
def test_masks_side_by_side_are_the_whole_ones(
    size: tuple[int, int], threads: int, request: pytest.FixtureRequest
) -> None:
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    torch.set_num_threads(threads)
    frame = Frame.fit(size, least=1024, most=1024, multiple=1024, mask_stride=4)
    low = np.stack([noise(frame, 1), noise(frame, 2, bias=-35), np.full(frame.low_res, -1.0)])
    low[0, :, :20] = low[0, :3] = -5  # an object that does not begin at the corner
    low = low.astype(np.float32)
    masks = restore_masks(frame, low)
    assert masks.dtype == bool
    for one, mask in zip(low, masks, strict=True):
        assert ((whole(frame, one) > 0) == mask).mean() >= 0.9999
        patch, region = restore_mask(frame, one)
        assert (patch == mask[region]).mean() >= 0.9999 if patch.size else not mask.any()
        assert patch.sum() == pytest.approx(mask.sum(), rel=1e-4)


def test_no_memory_while_a_mask_is_drawn_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError("there was no memory for some rows of a mask")

    frame = Frame.fit((50, 70), **SHAPES[0])
    prediction = MaskPrediction(noise(frame, 0)[None, None], np.ones((1, 1), np.float32), frame)
    monkeypatch.setattr(upscale, "_threshold", full)
    monkeypatch.setattr(upscale, "LARGE", 0)  # every mask is drawn by it
    for draw in (lambda: prediction.patch(0), lambda: prediction.mask(0), prediction.to_labels):
        with pytest.raises(OutOfMemoryError, match="smaller model"):
            draw()
