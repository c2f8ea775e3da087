"""Objects in files, read back by those who know the formats."""

import json
from itertools import pairwise

import numpy as np
import pytest
from pycocotools.coco import COCO

from napari_sam._record_files import Format, Overlap, Result, Target, format_of, write_all
from napari_sam.core.masks import MaskRecord
from napari_sam.core.rle import decode_rle
from napari_sam.errors import MissingExtraError
from napari_sam.extras import coco
from napari_sam.extras.geojson import polygons_of, to_geojson


def record_of(mask, score=0.9):
    rows, columns = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    region = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    point, crop = (float(rows[0]), float(columns[0])), (0, 0, *mask.shape)
    return MaskRecord(mask[region], region, mask.shape, score, 0.95, point, crop)


def ring_and_disc():
    """A ring whose hole holds another object, and an object in two pieces."""
    grid = np.indices((40, 60))
    distance = np.hypot(grid[0] - 15, grid[1] - 15)
    pieces = np.zeros((40, 60), bool)
    pieces[30:35, 40:50] = pieces[2:6, 50:60] = True
    return [(distance < 12) & (distance > 6), distance < 3, pieces]


@pytest.fixture
def result():
    masks = ring_and_disc()
    records = [record_of(mask, score) for mask, score in zip(masks, (0.7, 0.9, 0.8), strict=True)]
    return Result(records, (40, 60), "cells.tif", Overlap.SMALLER, {"model": "fake"})


def written(tmp_path, name, result, kind=None):
    path = tmp_path / name
    write_all([Target(path, kind or format_of(path))], result)
    return path


def test_json_gives_the_very_masks_back(tmp_path, result):
    content = json.loads(written(tmp_path, "cells.json", result).read_text())
    assert content["shape"] == [40, 60]
    assert content["provenance"] == {"model": "fake"}
    for number, (one, mask) in enumerate(zip(content["records"], ring_and_disc(), strict=True)):
        assert one["id"] == number + 1
        assert (decode_rle(one["rle"]) == mask).all()
        assert one["area"] == mask.sum()
        assert one["box"] == list(result.records[number].box)


# of pycocotools itself, where it gives masks back
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_read_by_pycocotools(tmp_path, result, capsys):
    path = written(tmp_path, "cells.coco.json", result)
    data = COCO(str(path))
    (image,) = data.loadImgs(data.getImgIds())
    assert (image["file_name"], image["height"], image["width"]) == ("cells.tif", 40, 60)
    annotations = data.loadAnns(data.getAnnIds())
    assert [one["predicted_iou"] for one in annotations] == [0.7, 0.9, 0.8]
    for one, mask in zip(annotations, ring_and_disc(), strict=True):
        assert (data.annToMask(one).astype(bool) == mask).all()
        rows, columns = np.nonzero(mask)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert one["bbox"] == [columns.min(), rows.min(), width, height]
        assert one["area"] == mask.sum()


def test_without_pycocotools_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"napari-sam\[coco\]"):
        coco.require()


def area(polygon):
    """Signed, of all rings: the shoelace formula."""
    total = 0.0
    for ring in polygon:
        x, y = np.array(ring, float).T
        total += (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2
    return total


def test_geojson_has_the_masks_areas_and_holes(tmp_path, result):
    content = json.loads(written(tmp_path, "cells.geojson", result).read_text())
    assert content["type"] == "FeatureCollection"
    kinds = [feature["geometry"]["type"] for feature in content["features"]]
    assert kinds == ["Polygon", "Polygon", "MultiPolygon"]
    ring, disc, pieces = (f["geometry"]["coordinates"] for f in content["features"])
    assert (len(ring), len(disc), len(pieces)) == (2, 1, 2)
    areas = [area(ring), area(disc), sum(map(area, pieces))]
    assert areas == [mask.sum() for mask in ring_and_disc()]
    assert min(x for x, _ in ring[0]) == 4
    measured = content["features"][1]["properties"]
    assert measured["objectType"] == "annotation"
    assert measured["measurements"]["predicted IoU"] == 0.9


@pytest.mark.parametrize("seed", range(20))
def test_polygons_of_any_mask_hold_its_pixels_and_no_ring_touches_itself(seed):
    generator = np.random.default_rng(seed)
    mask = generator.random((12, 14)) < generator.uniform(0.2, 0.9)
    filled = np.zeros(mask.shape, int)
    for polygon in polygons_of(mask):
        assert area(polygon[:1]) > 0
        assert all(area([hole]) < 0 for hole in polygon[1:])
        for ring in polygon:
            assert ring[0] == ring[-1]
            assert len(set(ring)) == len(ring) - 1
        filled += even_odd(polygon, mask.shape)
    assert (filled == mask).all()


def even_odd(polygon, shape):
    """Pixels whose centres a polygon holds: a ray to the left crosses its sides an odd time."""
    y, x = np.indices(shape) + 0.5
    crossings = np.zeros(shape, int)
    for ring in polygon:
        for (x0, y0), (x1, y1) in pairwise(ring):
            if x0 == x1:
                crossings += (x0 < x) & (min(y0, y1) < y) & (y < max(y0, y1))
    return crossings % 2


def test_an_empty_record_is_no_feature():
    empty = MaskRecord(
        np.zeros((0, 0), bool), (slice(0, 0),) * 2, (9, 9), 0.5, 0.5, (1, 1), (0, 0, 9, 9)
    )
    assert to_geojson([empty])["features"] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.tif", "labels"), ("a.NPY", "labels"), ("a.json", "json"), ("a.coco.json", "coco"),
     ("a.geojson", "geojson"), ("a.txt", None)],
)  # fmt: skip
def test_the_ending_says_what_is_written(tmp_path, name, kind):
    assert format_of(tmp_path / name) == kind


def test_labels_lie_on_each_other_or_in_layers(tmp_path):
    large, small = np.zeros((2, 20, 30), bool)
    large[2:18, 2:28], small[5:9, 5:9] = True, True
    records = [record_of(small, 0.6), record_of(large, 0.9)]
    expected = {Overlap.SMALLER: [1, 2], Overlap.SCORE: [2, 2], Overlap.LAYERS: None}
    for rule, values in expected.items():
        result = Result(records, (20, 30), "cells.tif", rule, {})
        labels = np.load(written(tmp_path, "labels.npy", result, Format.LABELS))
        if values is None:
            assert labels.shape == (2, 20, 30)
            assert sorted(labels[:, 6, 6]) == [1, 2]
        else:
            assert [labels[6, 6], labels[12, 12]] == values


def test_nothing_is_written_when_one_result_cannot_be_made(tmp_path, result, monkeypatch):
    def fail(*_, **__):
        raise MissingExtraError("no")

    monkeypatch.setattr(coco, "require", fail)
    targets = [Target(tmp_path / "a.json", Format.JSON), Target(tmp_path / "b.json", Format.COCO)]
    with pytest.raises(MissingExtraError):
        write_all(targets, result)
    assert not list(tmp_path.iterdir())
