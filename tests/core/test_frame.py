"""Frame: sizes as the official code rounds them; coordinates and masks there and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.core.frame import EMPTY_LOGIT, Frame, picture_to_tensor

SIDES = st.integers(1, 3000)
SAM = {"least": 1024, "most": 1024, "multiple": 1024, "mask_stride": 4}
OURS = {"least": 512, "most": 1024, "multiple": 16, "mask_stride": 4}


def fit(size: tuple[int, int], **numbers: int) -> Frame:
    return Frame.fit(size, **{**OURS, **numbers})


@given(SIDES, SIDES)
def test_scaled_fits_and_canvas_is_the_next_multiple(height: int, width: int) -> None:
    frame = fit((height, width))
    long_side = max(height, width)
    assert max(frame.scaled) == min(max(long_side, 512), 1024)
    for scaled, canvas in zip(frame.scaled, frame.canvas, strict=True):
        assert 1 <= scaled <= canvas < scaled + 16
        assert canvas % 16 == 0
    assert frame.low_res == (frame.canvas[0] // 4, frame.canvas[1] // 4)


@given(SIDES, SIDES)
def test_sam_rounds_sides_as_the_official_resize_longest_side(height: int, width: int) -> None:
    frame = Frame.fit((height, width), **SAM)
    scale = 1024 / max(height, width)
    assert frame.scaled == (
        max(1, int(height * scale + 0.5)),
        max(1, int(width * scale + 0.5)),
    )
    assert frame.canvas == (1024, 1024)


@given(SIDES, SIDES, st.floats(0, 1), st.floats(0, 1))
def test_a_point_comes_back_by_the_inverse_scale(
    height: int, width: int, along_y: float, along_x: float
) -> None:
    frame = fit((height, width))
    point = np.array([[along_y * height, along_x * width]], np.float32)
    x, y = frame.points_to_model(point)[0]
    assert -1e-3 <= x <= frame.scaled[1] + 1e-3
    assert -1e-3 <= y <= frame.scaled[0] + 1e-3
    back = np.array([[y / frame.scale[0], x / frame.scale[1]]])
    np.testing.assert_allclose(back, point, rtol=1e-5, atol=1e-3)


@given(SIDES)
def test_a_small_picture_is_enlarged_no_more_than_so_many_times(side: int) -> None:
    frame = fit((side, side), enlarge=4)
    assert max(frame.scaled) == (4 * side if side < 128 else fit((side, side)).scaled[0])


def test_y_x_becomes_x_y() -> None:
    frame = fit((100, 200), least=400, most=400)
    assert frame.points_to_model(np.array([[10, 30]], np.float32)).tolist() == [[60, 20]]
    boxes = frame.boxes_to_model(np.array([[1, 2, 3, 4]], np.float32))
    assert boxes.tolist() == [[4, 2, 8, 6]]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 3), st.integers(1, 3))
def test_restored_logits_have_the_images_size(
    height: int, width: int, objects: int, candidates: int
) -> None:
    frame = fit((height, width))
    low = torch.zeros(objects, candidates, *frame.low_res)
    assert frame.restore(low).shape == (objects, candidates, height, width)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 700), st.integers(1, 700), st.floats(-20, 20))
def test_a_constant_mask_prompt_stays_constant_inside(
    height: int, width: int, value: float
) -> None:
    frame = fit((height, width))
    low = frame.to_low_res(torch.full((1, 1, height, width), value))
    assert low.shape == (1, 1, *frame.low_res)
    inside = low[..., : frame.scaled[0] // 4, : frame.scaled[1] // 4]
    np.testing.assert_allclose(inside.numpy(), value, atol=1e-3)


@pytest.mark.parametrize("size", [(300, 500), (512, 512), (900, 200)])
def test_a_disk_survives_to_low_res_and_back(size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    disk = np.hypot(y - size[0] / 2, x - size[1] / 2) < 60
    frame = fit(size)
    logits = torch.from_numpy(np.where(disk, 10.0, -10.0).astype(np.float32))[None, None]
    back = frame.restore(frame.to_low_res(logits))[0, 0].numpy() > 0
    assert (back & disk).sum() / (back | disk).sum() > 0.97


def test_padding_of_a_mask_prompt_is_no_object() -> None:
    frame = fit((10, 512))
    low = frame.to_low_res(torch.full((1, 1, 10, 512), 5.0))
    assert low[..., -1, :].max() == EMPTY_LOGIT


def test_resize_keeps_a_picture_of_the_right_size() -> None:
    picture = np.zeros((512, 512, 3), np.uint8)
    assert fit((512, 512)).resize(picture) is picture
    assert fit((2, 300)).resize(np.zeros((2, 300, 3), np.uint8)).shape == (3, 512, 3)


def test_picture_to_tensor_is_channels_first_0_to_255() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    tensor = picture_to_tensor(picture, torch.device("cpu"))
    assert tensor.shape == (1, 3, 2, 4)
    assert tensor.dtype == torch.float32
    assert tensor[0, :, 1, 2].tolist() == picture[1, 2].tolist()
