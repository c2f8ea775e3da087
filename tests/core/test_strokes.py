"""What scribbles and outlines become."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.core.frame import Frame
from napari_sam.core.strokes import (
    MASK_LOGIT,
    Sketch,
    along,
    ellipse,
    fill,
    spread,
)
from tests.core.frames import FRAMES

PLACES = st.tuples(st.floats(0, 99), st.floats(0, 99))
PATHS = st.lists(PLACES, min_size=1, max_size=8)


@given(PATHS, st.floats(0.5, 9))
def test_a_path_is_walked_from_end_to_end_in_small_steps(path, step):
    walked = along(path, step)
    assert tuple(walked[0]) == path[0]
    assert walked[-1] == pytest.approx(path[-1])
    assert (np.linalg.norm(np.diff(walked, axis=0), axis=1) <= step + 1e-9).all()


@given(PATHS, st.integers(1, 9), st.floats(0, 20))
def test_points_of_a_scribble_lie_on_it_and_cover_it(path, most, distance):
    line = along(path)
    points = spread(line, most=most, least_distance=distance)
    assert 1 <= len(points) <= most
    assert {tuple(point) for point in points} <= {tuple(place) for place in line}
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert (apart[~np.eye(len(points), dtype=bool)] > distance).all()
    if len(points) < most:  # nothing is left that lies farther away
        left = np.linalg.norm(line[:, None] - points[None], axis=-1).min(1)
        assert (left <= distance).all()


@given(PATHS, st.randoms())
def test_the_order_of_a_scribble_does_not_matter(path, random):
    line = along(path).tolist()
    points = spread(line)
    random.shuffle(line)
    assert np.array_equal(spread(line), points)


def test_the_middle_comes_first():
    assert spread(along([(0, 0), (0, 40)]), most=3).tolist() == [[0, 20], [0, 0], [0, 40]]


@given(st.floats(0, 50), st.floats(0, 50), st.floats(2, 40), st.floats(2, 40))
def test_an_ellipse_lies_in_its_box_and_fills_most_of_it(y, x, height, width):
    corners = [(y, x), (y, x + width), (y + height, x + width), (y + height, x)]
    outline = ellipse(corners)
    assert outline.min(0) == pytest.approx([y, x], abs=0.01 * max(height, width))
    assert outline.max(0) == pytest.approx([y + height, x + width], abs=0.01 * max(height, width))
    area = 0.5 * abs(
        np.dot(outline[:, 0], np.roll(outline[:, 1], 1))
        - np.dot(outline[:, 1], np.roll(outline[:, 0], 1))
    )
    assert area == pytest.approx(np.pi / 4 * height * width, rel=0.01)


@settings(deadline=None)
@given(FRAMES, st.integers(0, 99))
def test_an_outline_and_its_pixels_are_nearly_the_same_sketch(frame: Frame, seed: int) -> None:
    height, width = frame.original
    centre = np.array([height, width]) / 2
    radius = min(height, width) / 3
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False) + seed
    outline = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    drawn = Sketch(outline).logits(frame)
    assert drawn.shape == frame.low_res
    assert set(np.unique(drawn)) <= {-MASK_LOGIT, MASK_LOGIT}
    painted = Sketch(mask=fill(outline, frame.original)).logits(frame)
    cells = np.array(frame.scale) / frame.mask_stride * radius
    allowed = 8 * (cells.max() + 1) * max(1.0, *(np.array(frame.scale) / frame.mask_stride))
    assert np.count_nonzero(drawn != painted) <= allowed + 8


def test_a_mask_lies_where_its_offset_says() -> None:
    frame = Frame((40, 60), (40, 60), (40, 60), 1)
    logits = Sketch(mask=np.ones((3, 5), bool), offset=(10, 20)).logits(frame)
    expected = np.full((40, 60), -MASK_LOGIT)
    expected[10:13, 20:25] = MASK_LOGIT
    assert np.array_equal(logits, expected)
