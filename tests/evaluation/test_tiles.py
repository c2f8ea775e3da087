"""Pictures cut into tiles: seams, who crosses them, and figures that a naive program fails."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.core.params import AutomaticParams
from napari_sam.core.registry import ModelSpec, get_spec
from napari_sam.evaluation import seam_everything, stacks
from napari_sam.evaluation.cutting import crossing, cut, mirrored, pictures, seams
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.seam_clicks import at_home, iou
from napari_sam.evaluation.seam_everything import Cutting, count_cuts, examine, found_in_tiles
from napari_sam.evaluation.stacks import judge, judge_planes, link_truth
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
    whole = (slice(0, 260), slice(0, 240))
    stitched, naive = found_in_tiles(job, params, whole)
    assert ((stitched > 0) == (sample.labels > 0)).all()
    assert judge(sample.labels, stitched).f1 == 1.0 > judge(sample.labels, naive).f1
    chance = count_cuts(sample.labels, seams(job.grid)).ratio
    assert count_cuts(stitched, seams(job.grid)).ratio == pytest.approx(chance)
    assert count_cuts(naive, seams(job.grid)).ratio > 2 * max(1.0, chance)


@dataclass(frozen=True)
class SmallGreys(Greys):
    """Sees 320 pixels at once, as its registry entry says."""

    @property
    def spec(self) -> ModelSpec:
        return replace(get_spec("tiny"), image_size=320, least_size=160)


@pytest.mark.parametrize("down", [False, True])
def test_a_picture_amid_its_mirror_images_has_a_seam_in_its_middle(
    sample: Sample, down: bool
) -> None:
    spec = SmallGreys().spec
    cutting = Cutting.of(spec, points=20, small=False)
    plane, region = mirrored(sample, side=cutting.side, down=down)
    assert (plane.picture[region] == sample.picture).all()
    assert (plane.labels[region] == sample.labels).all()
    grid = cut(plane, Given(Greys()), side=cutting.side, halo=cutting.halo).grid
    axis = 0 if down else 1
    middle = region[axis].start + sample.labels.shape[axis] // 2
    assert middle in seams(grid)[axis] and not len(seams(grid)[1 - axis])
    found = examine(sample, SmallGreys(), spec, cutting, down=down)
    untiled, tiled, naive = (one.f1 for one in found.counts)
    assert untiled == tiled == 1.0 > naive
    assert found.cuts[0].ratio == found.cuts[1].ratio < found.cuts[2].ratio


def test_points_are_as_dense_in_tiles_as_in_a_picture_that_is_no_square() -> None:
    """Each axis by itself: a square grid in tiles was thinner than that of a wide picture."""
    grid = Cutting(64, 16, 24, small=True).grid_in_tiles((60, 120), (30, 40))
    assert len(np.unique(grid[:, 0])) == 12 and len(np.unique(grid[:, 1])) == 8
    assert len(grid) == 12 * 8
    whole = Cutting(64, 16, 24, small=True).grid_in_tiles((60, 120), (60, 120))
    assert np.allclose(whole, AutomaticParams(points_per_side=24).grid(0))


def test_the_command_goes_on_with_the_next_picture(tmp_path, monkeypatch, capsys, sample) -> None:
    items = []
    for number in range(5):
        for kind, values in (("image", sample.picture), ("label", sample.labels)):
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{kind}{number}.png")
        items.append(
            {
                "id": f"drawn/{number}", "image": f"image{number}.png",
                "label": f"label{number}.png", "modality": "drawn", "dataset": "drawn",
                "axes": "YXC", "shape": [260, 240, 3], "label_kind": "instance",
            }
        )  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(items))
    chosen = [one.name for one in pictures(tmp_path, 320, most=3, least_side=100)]
    assert chosen == ["drawn/0", "drawn/2", "drawn/4"]  # spread over the pack
    monkeypatch.setattr(seam_everything, "LEAST", 100)
    monkeypatch.setattr(seam_everything, "load_predictor", lambda _: SmallGreys())
    arguments = [str(tmp_path), "--points", "12", "--results", str(tmp_path / "kept")]
    real, asked = seam_everything.examine, []

    def stopped(sample: Sample, *given: object, **more: object) -> object:
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(sample.name)
        return real(sample, *given, **more)

    monkeypatch.setattr(seam_everything, "examine", stopped)
    seam_everything.main([*arguments, "--most", "2"])
    assert asked == ["drawn/0"] and "| drawn/0 |" in capsys.readouterr().out
    asked.clear()
    seam_everything.main([*arguments, "--most", "2"])
    printed = capsys.readouterr().out
    assert asked == ["drawn/4"] and "| drawn/0 |" in printed and "mean over 2 pictures" in printed


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


def test_planes_are_judged_before_anything_is_linked() -> None:
    """Objects that are right in each plane and linked to nothing: the linking's fault alone."""
    _, truth = cells((4, 120, 120), count=12)
    apart = truth.astype(np.int64)
    apart[apart > 0] += 1000 * np.indices(truth.shape)[0][apart > 0]
    in_planes = judge_planes(truth, apart)
    assert in_planes.f1 == in_planes.best == 1.0 > judge(truth, apart).best
    assert in_planes.true == in_planes.found == sum(len(np.unique(p[p > 0])) for p in truth)


def test_stacks_that_were_judged_are_not_asked_again(tmp_path, monkeypatch, capsys) -> None:
    data, truth = cells((5, 100, 90), count=8)
    for name, values in (("image", data), ("label", truth.astype(np.uint16))):
        tifffile.imwrite(tmp_path / f"{name}.tif", values)
    item = {
        "id": "stardist/drawn", "image": "image.tif", "label": "label.tif", "modality": "drawn",
        "dataset": "drawn", "axes": "ZYX", "shape": [5, 100, 90], "label_kind": "instance",
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps([item]))
    monkeypatch.setattr(stacks, "load_predictor", lambda _: SmallGreys("tiny"))
    arguments = [str(tmp_path), "--planes", "4", "--results", str(tmp_path / "kept")]
    stacks.main(arguments)
    first = capsys.readouterr().out.splitlines()[-1]
    assert first.startswith("| stardist/drawn | 4 | ") and "| 1.000 | 1.000 |" in first
    monkeypatch.setattr(stacks, "segment", None)
    stacks.main(arguments)
    assert capsys.readouterr().out.splitlines()[-1] == first
