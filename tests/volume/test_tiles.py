import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_sam.errors import StoreError
from napari_sam.volume.tiles import TileGrid, intersection

grids = st.builds(
    TileGrid,
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 90), st.integers(1, 90)),
    st.integers(7, 40),
    st.integers(0, 20),
)


@settings(deadline=None, max_examples=60)
@given(grids)
def test_write_regions_partition_each_plane_and_read_regions_hold_them(grid: TileGrid) -> None:
    written = np.zeros(grid.shape, int)
    height, width = grid.shape[2:]
    for tile in grid:
        written[(*tile.plane, *tile.write)] += 1
        seen = tile.read
        assert (seen[0].stop - seen[0].start, seen[1].stop - seen[1].start) == grid.read_size
        for read, write, length in zip(seen, tile.write, (height, width), strict=True):
            assert 0 <= read.start <= write.start < write.stop <= read.stop <= length
            assert write.start - read.start >= min(grid.halo, write.start)
            assert write.start % grid.side == 0
            assert read.stop - write.stop >= min(grid.halo, length - write.stop)
    assert (written == 1).all()


@settings(deadline=None, max_examples=60)
@given(grids)
def test_tiles_are_found_by_number_cell_and_neighbourhood(grid: TileGrid) -> None:
    tiles = list(grid)
    assert [tile.index for tile in tiles] == list(range(len(grid)))
    assert len({tile.key for tile in tiles}) == len(tiles)
    assert [t for plane in grid.planes for t in grid.on(plane)] == tiles
    middle = tiles[len(tiles) // 2]
    assert grid.at(middle.plane, middle.cell) == middle
    expected = [t for t in grid.on(middle.plane) if intersection(t.read, middle.write)]
    assert list(grid.seeing(middle)) == expected
    assert TileGrid.from_dict(grid.as_dict()) == grid


@settings(deadline=None, max_examples=60)
@given(grids)
def test_no_two_tiles_see_the_same(grid: TileGrid) -> None:
    assume(grid.halo < grid.side)
    seen = {(tile.plane, *(part.start for part in tile.read)) for tile in grid}
    assert len(seen) == len(grid)


def test_a_plane_that_fits_is_one_tile() -> None:
    grid = TileGrid((1, 1, 100, 300), side=80, halo=10)
    assert grid.cells == (1, 4)
    assert grid.write_size == (100, 80)


@pytest.mark.parametrize(("side", "halo"), [(0, 0), (8, -1)])
def test_what_makes_no_tiles_is_refused(side: int, halo: int) -> None:
    with pytest.raises(StoreError, match=r"side must be at least 1"):
        TileGrid((1, 1, 8, 8), side, halo)
