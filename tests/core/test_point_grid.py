import numpy as np
import pytest

from napari_sam.core.params import AutomaticParams
from napari_sam.core.point_grid import AdaptiveGrid, FullGrid, Scene, dither_order
from tests.core.test_hierarchy import square


@pytest.mark.parametrize("side", [1, 2, 3, 7, 16, 33])
def test_dither_order_has_every_point_once(side: int) -> None:
    assert sorted(dither_order(side)) == list(range(side * side))


def test_the_first_sixteenth_is_every_fourth_point() -> None:
    y, x = np.divmod(np.sort(dither_order(32)[:64]), 32)
    assert set(y) == set(x) == set(range(2, 32, 4))


def test_a_full_grid_asks_in_order() -> None:
    grid = FullGrid(5)
    assert grid.next(3).tolist() == [0, 1, 2]
    assert grid.left == 2
    assert grid.next(3).tolist() == [3, 4]
    assert len(grid.next(3)) == 0


def grid_over(picture: np.ndarray, origin: tuple[int, int] = (0, 0)) -> AdaptiveGrid:
    points = AutomaticParams(points_per_side=16).grid(0) * picture.shape[:2]
    return AdaptiveGrid(picture, points, 16, origin=origin)


def test_points_on_a_mask_are_closed() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    grid = grid_over(picture, origin=(50, 60))
    before = grid.left
    grid.found([square(75, 85, 25)])
    assert before == 256
    assert 256 - grid.left == pytest.approx(16, abs=9)
    asked = _drain(grid)
    y, x = (np.array(np.divmod(asked, 16)) + 0.5) * 100 / 16 + np.array([[50], [60]])
    assert not ((y > 76) & (y < 99) & (x > 86) & (x < 109)).any()


def test_a_large_mask_closes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    grid = grid_over(picture)
    grid.found([square(0, 0, 90)])
    assert grid.left == 256


def test_a_mask_much_larger_than_the_others_may_be_a_group() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    alone, among_small_ones = grid_over(picture), grid_over(picture)
    alone.found([square(50, 50, 25)])
    among_small_ones.found([square(4, 4, 3), square(4, 14, 3), square(50, 50, 25)])
    assert alone.left < 256 - 9
    assert among_small_ones.left > 256 - 9  # those on the small ones alone


def test_flat_places_are_asked_coarsely_only() -> None:
    picture = np.zeros((160, 160, 3), np.uint8)
    picture[20:40, 20:40, 1] = 200
    asked = _drain(grid_over(picture))
    assert 16 < len(asked) < 80


def test_a_found_object_explains_its_contrast() -> None:
    picture = np.zeros((160, 160, 3), np.uint8)
    picture[20:40, 20:40, 1] = 200
    scene = Scene(picture, 16, origin=(7, 5))
    places = np.array([[27, 45], [127, 125]])  # at the object's edge; on nothing
    assert scene.contrast(places)[0] > 100 > scene.contrast(places)[1]
    scene.explain(np.ones((20, 20), bool), (slice(27, 47), slice(25, 45)))
    assert (scene.contrast(places) < 20).all()


def _drain(grid: AdaptiveGrid) -> np.ndarray:
    batches = []
    while len(batch := grid.next(9)):
        batches.append(batch)
    return np.concatenate(batches)
