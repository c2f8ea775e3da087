"""Pictures cut into tiles: seams, who crosses them, and figures that a naive program fails."""

import numpy as np
import pytest

from napari_sam.core.params import AutomaticParams
from napari_sam.evaluation.cutting import crossing, cut, seams
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.seam_clicks import at_home, iou
from napari_sam.evaluation.seam_everything import count_cuts, found_in_tiles
from napari_sam.evaluation.stacks import judge, link_truth
from napari_sam.volume.link import LinkParams
from napari_sam.volume.model import Given
from napari_sam.volume.tiles import TileGrid
from tests.volume.fakes import Greys, cells


@pytest.fixture(scope="module")
def sample() -> Sample:
    data, truth = cells((2, 260, 240), count=60, radius=(8, 14))
    picture = np.repeat(data[1][..., None], 3, 2)
    return Sample("drawn", "drawn", "drawn", picture, truth[1].astype(np.int32), {})


def test_seams_are_where_write_regions_begin() -> None:
    grid = TileGrid((1, 1, 260, 240), 64, 16)
    rows, columns = seams(grid)
    starts = {tile.write[0].start for tile in grid} - {0}, {t.write[1].start for t in grid} - {0}
    assert (set(rows.tolist()), set(columns.tolist())) == starts


def test_who_crosses_a_seam_is_found(sample: Sample) -> None:
    grid = TileGrid((1, 1, 260, 240), 64, 16)
    found = crossing(sample.labels, grid)
    assert found
    for label in np.unique(sample.labels[sample.labels > 0]).tolist():
        pieces = {tile.index for tile in grid if (sample.labels[tile.write] == label).any()}
        assert (label in found) == (len(pieces) > 1)


def test_stitched_tiles_find_what_is_there_and_leave_no_seam_and_naive_ones_do(
    sample: Sample,
) -> None:
    job = cut(sample, Given(Greys()), side=64, halo=32)
    params = AutomaticParams(points_per_side=24, pred_iou_thresh=0.5)
    stitched, naive = found_in_tiles(job, params)
    assert ((stitched > 0) == (sample.labels > 0)).all()
    assert judge(sample.labels, stitched).f1 == 1.0 > judge(sample.labels, naive).f1
    chance = count_cuts(sample.labels, job.grid).ratio
    assert count_cuts(stitched, job.grid).ratio == pytest.approx(chance)
    assert count_cuts(naive, job.grid).ratio > 2 * max(1.0, chance)


def test_a_mask_that_is_cut_where_tiles_meet_is_a_part_of_it() -> None:
    grid = TileGrid((1, 1, 100, 100), 50, 10)
    mask = np.zeros((100, 100), bool)
    mask[40:60, 10:20] = True
    left = at_home(mask, grid, (42, 15))
    assert left.sum() == 100 and iou(left, mask) == 0.5


def test_figures_of_stacks_and_what_linking_could_reach() -> None:
    _, truth = cells((6, 120, 120), count=12)
    linked = link_truth(truth, LinkParams())
    assert judge(truth, linked).f1 == 1.0
    halves = truth.copy()
    halves[3:][halves[3:] > 0] += 100
    figures = judge(truth, halves)
    assert figures.true == 12 or figures.true == len(np.unique(truth)) - 1
    assert figures.found > figures.true and figures.f1 < 1.0 and 0.4 < figures.best < 1.0
