import numpy as np
import pytest

from napari_sam.volume.overlaps import count_overlaps
from napari_sam.volume.stitch import find_objects, paint
from napari_sam.volume.tiles import Tile, TileGrid
from napari_sam.volume.unions import components
from tests.volume.fakes import cells

SIZE = 220
CROSS = 900
SEAMS = 24  # pixels on either side of a seam that count as near


def scene(seed: int) -> np.ndarray:
    """Labels (y, x) of discs, and a cross larger than any tile."""
    _, labels = cells((1, SIZE, SIZE), count=90, seed=seed, radius=(5, 12))
    plane = labels[0].astype(np.int64)
    cross = np.zeros(plane.shape, bool)
    cross[100:112] = cross[:, 140:150] = True
    plane[np.isin(plane, plane[cross])] = 0
    plane[cross] = CROSS
    return plane


class SeesTiles:
    """Labels of tiles as a generator gives them: own numbers, and outlines that differ a bit."""

    def __init__(self, truth: np.ndarray, *, misses: float = 0.0, wobble: bool = False) -> None:
        self.truth, self.misses, self.wobble = truth, misses, wobble

    def __call__(self, tile: Tile) -> np.ndarray:
        rng = np.random.default_rng(tile.index)
        dy, dx = rng.integers(0, 3, 2) if self.wobble else (1, 1)  # a pixel to some side
        rows, columns = tile.read
        around = np.pad(self.truth, 1, mode="edge")
        part = around[rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx]
        known = np.unique(part[part > 0])
        known = rng.permutation(known[rng.random(len(known)) >= self.misses])
        labels = np.zeros(part.shape, np.uint32)
        for number, one in enumerate(known, 1):
            labels[part == one] = number
        return labels


def stitched(grid: TileGrid, read: SeesTiles) -> np.ndarray:
    objects = find_objects(grid, (0, 0), read)
    whole = np.zeros(grid.shape[2:], np.int64)
    for tile in grid:
        whole[tile.write] = paint(grid, tile, objects, read)
    assert set(np.unique(whole)) - {0} <= set(range(1, objects.count + 1))
    return whole


def naive(grid: TileGrid, read: SeesTiles) -> np.ndarray:
    """What to beat: each tile's own part, with numbers of its own."""
    whole = np.zeros(grid.shape[2:], np.int64)
    for tile in grid:
        rows, columns = (slice(w.start - r.start, w.stop - r.start)
                         for w, r in zip(tile.write, tile.read, strict=True))  # fmt: skip
        own = read(tile)[rows, columns].astype(np.int64)
        whole[tile.write] = np.where(own > 0, own + 1000 * tile.index, 0)
    return whole


def f1(found: np.ndarray, truth: np.ndarray) -> float:
    overlaps = count_overlaps(found, truth)
    hits = (overlaps.iou(np.bincount(found.ravel()), np.bincount(truth.ravel())) > 0.5).sum()
    return float(2 * hits / (len(np.unique(found)) + len(np.unique(truth)) - 2))


def share_on_seams(grid: TileGrid, labels: np.ndarray) -> tuple[float, float]:
    """How often an object ends exactly on a seam, and how often on lines beside it."""
    ends = [labels[1:] != labels[:-1], (labels[:, 1:] != labels[:, :-1]).T]
    on, near = [], []
    for axis, lines in enumerate(ends):
        for number in range(1, grid.cells[axis]):
            seam = number * grid.side - 1
            on.append(lines[seam].mean())
            near += [lines[seam + d].mean() for d in range(-SEAMS, SEAMS + 1) if abs(d) > 1]
    return float(np.mean(on)), float(np.mean(near))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("side", "halo"), [(48, 24), (64, 16), (80, 12)])
def test_tiles_that_agree_give_the_untiled_result(seed: int, side: int, halo: int) -> None:
    truth = scene(seed)
    grid = TileGrid((1, 1, SIZE, SIZE), side, halo)
    found = stitched(grid, SeesTiles(truth))
    pairs = np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(truth)) == len(np.unique(found))


def test_seams_cannot_be_seen_where_tiles_differ_and_a_naive_stitcher_shows_them() -> None:
    scores, shares = {stitched: [], naive: []}, {stitched: [], naive: []}
    for seed in range(4):
        truth = scene(seed)
        grid = TileGrid((1, 1, SIZE, SIZE), 48, 24)
        for way in (stitched, naive):
            found = way(grid, SeesTiles(truth, wobble=True))
            scores[way].append(f1(found, truth))
            shares[way].append(share_on_seams(grid, found))
    on, near = np.mean(shares[stitched], 0)
    assert on <= near * 1.15
    assert min(scores[stitched]) >= 0.99
    on, near = np.mean(shares[naive], 0)
    assert on > near * 2
    assert max(scores[naive]) < 0.8


def test_what_one_of_two_tiles_misses_is_not_cut_at_the_seam() -> None:
    whole = 0
    for seed in range(4):
        truth = scene(seed)
        grid = TileGrid((1, 1, SIZE, SIZE), 48, 24)
        found = stitched(grid, SeesTiles(truth, misses=0.3))
        overlaps = count_overlaps(found, truth)
        area, real = np.bincount(found.ravel()), np.bincount(truth.ravel())
        small = overlaps.second != CROSS  # that one is put together from parts
        assert (overlaps.pixels[small] == area[overlaps.first[small]]).all()
        assert (overlaps.pixels[small] == real[overlaps.second[small]]).all()
        whole += small.sum()
    assert whole > 60


def test_the_smaller_object_is_on_top() -> None:
    grid = TileGrid((1, 1, 40, 40), 20, 10)
    truth = np.zeros((40, 40), np.int64)
    truth[5:35, 5:35] = 1
    truth[15:25, 15:25] = 2
    found = stitched(grid, SeesTiles(truth))
    assert len(np.unique(found[15:25, 15:25])) == 1
    assert found[20, 20] != found[10, 10] != 0


def test_an_empty_plane_has_no_objects() -> None:
    grid = TileGrid((1, 1, 40, 40), 20, 10)
    assert find_objects(grid, (0, 0), SeesTiles(np.zeros((40, 40), int))).count == 0


def test_components_do_not_depend_on_the_order_of_pairs() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 60, (2, 40))
    expected = components(60, first, second)
    order = rng.permutation(40)
    np.testing.assert_array_equal(components(60, second[order], first[order]), expected)
    assert expected.max() + 1 == len(np.unique(expected))
    assert (expected[first] == expected[second]).all()
    assert components(0, first[:0], first[:0]).tolist() == []
