"""Intensity: any image becomes an 8-bit RGB picture by a stated range, or is refused in words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.core import intensity
from napari_sam.core.intensity import percentile_range, rescale, to_picture
from napari_sam.errors import ImageError

DTYPES = st.sampled_from(
    ["bool", "uint8", "uint16", "int16", "int32", "uint32", "float16", "float32", "float64"]
)
SHAPES = st.one_of(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(17, 20), st.integers(1, 16), st.integers(1, 5)),
)


@settings(deadline=None)
@given(st.data())
def test_any_image_becomes_a_picture_and_is_left_alone(data: st.DataObject) -> None:
    image = data.draw(hnp.arrays(data.draw(DTYPES), data.draw(SHAPES)))
    before = image.copy()
    with np.errstate(all="ignore"):
        for choice in ("percentile", "per-channel", (-1.0, 300.0)):
            picture = to_picture(image, intensity=choice)
            assert picture.shape == (*image.shape[:2], 3)
            assert picture.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@given(hnp.arrays(np.uint16, (8, 9)), st.integers(1, 5), st.integers(0, 100))
def test_gain_and_offset_do_not_change_what_the_model_sees(
    image: np.ndarray, gain: int, offset: int
) -> None:
    changed = image.astype(np.int64) * gain + offset
    difference = to_picture(image).astype(int) - to_picture(changed)
    assert np.abs(difference).max() <= 1


def test_range_maps_its_ends_to_black_and_white() -> None:
    picture = to_picture(np.array([[0, 100, 150, 200, 300]]), intensity=(100, 200))
    assert picture[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_percentiles_are_those_of_the_whole_image() -> None:
    image = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    low, high = percentile_range(image)
    assert (low, high) == pytest.approx(np.percentile(image, intensity.PERCENTILES))
    assert to_picture(image)[..., 0].min() == 0
    assert to_picture(image)[..., 0].max() == 255


def test_sparse_bright_spots_on_flat_ground_are_seen() -> None:
    image = np.full((100, 100), 7, np.uint16)
    image[50, 50] = 4000
    picture = to_picture(image)
    assert picture[50, 50, 0] == 255
    assert picture[0, 0, 0] == 0


def test_not_finite_values_count_as_lowest_and_do_not_move_the_range() -> None:
    image = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    clean = to_picture(image)
    image[3, 4], image[5, 6], image[7, 8] = np.nan, -np.inf, np.inf
    dirty = to_picture(image)
    assert dirty[3, 4, 0] == 0
    assert dirty[5, 6, 0] == 0
    assert dirty[7, 8, 0] == 255
    rest = np.ones((100, 100), bool)
    rest[[3, 5, 7], [4, 6, 8]] = False
    assert np.abs(dirty[rest].astype(int) - clean[rest]).max() <= 1


@pytest.mark.parametrize("value", [0, 5, np.nan])
def test_a_constant_image_is_black(value: float) -> None:
    assert not to_picture(np.full((1, 9), value)).any()


def test_as_is_leaves_pixels_untouched() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_picture(rgb, intensity="as_is"), rgb)
    grey = to_picture(rgb[..., 0], intensity="as_is")
    np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1], 3, -1))


def test_three_channels_share_a_range_unless_asked_otherwise() -> None:
    image = np.zeros((20, 20, 3), np.uint16)
    image[:10] = 1000
    image[..., 1] //= 10
    together, apart = to_picture(image), to_picture(image, intensity="per-channel")
    assert together[0, 0].tolist() == [255, 26, 255]
    assert apart[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("count", [2, 4, 5])
def test_no_channel_is_dropped(count: int) -> None:
    image = np.zeros((20, count * 4, count), np.uint16)
    for channel in range(count):
        image[:, channel * 4 : channel * 4 + 4, channel] = 10 ** (channel % 3 + 1)
    assert (to_picture(image) == 255).all()


def test_unused_alpha_is_left_out() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rgba = np.dstack([rgb, np.full((8, 8), 255, np.uint8)])
    np.testing.assert_array_equal(to_picture(rgba), to_picture(rgb))


def test_channels_are_taken_in_the_order_given() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 8, 5), dtype=np.uint8)
    picture = to_picture(image, channels=(4, 0, 2), intensity=(0, 255))
    np.testing.assert_array_equal(picture, image[..., [4, 0, 2]])
    one = to_picture(image, channels=(1,), intensity=(0, 255))
    np.testing.assert_array_equal(one, np.repeat(image[..., 1:2], 3, -1))


def test_large_images_are_sampled_alike_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "SAMPLE_LIMIT", 1000)
    image = np.random.default_rng(0).normal(size=(100, 101))
    assert percentile_range(image) == percentile_range(image)
    exact = np.percentile(image, intensity.PERCENTILES)
    assert percentile_range(image) == pytest.approx(exact, abs=0.6)


def test_range_without_width_gives_black() -> None:
    assert not rescale(np.arange(4), (3, 3)).any()


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros(5), {}, r"shape \(5,\); one plane is wanted"),
        (np.zeros((2, 3, 4, 5)), {}, "one plane is wanted"),
        (np.zeros((0, 5)), {}, "it is empty"),
        (np.zeros((5, 5), complex), {}, "dtype complex128"),
        (np.array([["a"]]), {}, "only real numbers"),
        (np.zeros((3, 50, 60)), {}, "looks like channels first"),
        (np.zeros((5, 5)), {"intensity": "as_is"}, "takes uint8"),
        (np.zeros((5, 5, 2), np.uint8), {"intensity": "as_is"}, "one or three channels"),
        (np.zeros((5, 5)), {"intensity": "best"}, "must be one of"),
        (np.zeros((5, 5)), {"intensity": (2, 1)}, "low < high"),
        (np.zeros((5, 5)), {"intensity": (0, np.nan)}, "low < high"),
        (np.zeros((5, 5)), {"intensity": (0, 1, 2)}, "low < high"),
        (np.zeros((5, 5, 3)), {"channels": (3,)}, "the image has 0 to 2"),
        (np.zeros((5, 5, 3)), {"channels": (-1,)}, "the image has 0 to 2"),
        (np.zeros((5, 5, 3)), {"channels": ()}, "were chosen"),
    ],
)
def test_what_is_wrong_is_said(image: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_picture(image, **options)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_at_the_limits_of_a_dtype(dtype: type):
    largest = np.finfo(dtype).max
    image = np.linspace(0, 1, 64, dtype=dtype).reshape(8, 8)
    image[0, :2] = largest, -largest
    assert to_picture(image).shape == (8, 8, 3)
    assert to_picture(image, intensity=(0, 1))[0, :2, 0].tolist() == [255, 0]
