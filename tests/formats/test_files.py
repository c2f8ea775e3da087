"""Labels and objects in every format: what is written comes back, a wrong file is refused."""

import json

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from PIL import Image

from napari_sam._covered import Covered, both
from napari_sam._formats import files, ome_zarr
from napari_sam._formats.files import read, write
from napari_sam._formats.object_set import Facts, ObjectSet, paint
from napari_sam.core.outlines import Outline, mask_of_rings
from napari_sam.errors import ImageError, MissingExtraError
from napari_sam.extras import imagej
from napari_sam.volume.image import ImageRef
from napari_sam.volume.ome import LabelImage

# of pycocotools itself, where it gives masks back
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PLANE = (40, 60)
STACK = (3, 40, 60)
ENDINGS = [ending for one in files.FORMATS for ending in one.endings[:1]]
KINDS = {"nucleus": "#ff8000", "Zelle mit Ä": "#0080ff", "unused": "#102030"}


def labels_of(shape):
    """A ring with an object in its hole, an object in two pieces that meet at a corner, gaps."""
    rows, columns = np.indices(shape[-2:])
    distance = np.hypot(rows - 15, columns - 15)
    plane = np.zeros(shape[-2:], np.uint32)
    plane[(distance < 12) & (distance > 6)] = 2
    plane[distance < 3] = 3
    plane[30:35, 40:50] = 7
    plane[35:38, 50:60] = 7
    labels = np.zeros(shape, np.uint32)
    labels[...] = plane
    if len(shape) > 2:
        labels[0][plane == 3] = 0
        labels[2][plane == 2] = 9
    return labels


def objects_of(shape, **others):
    facts = {
        2: Facts("nucleus", 0.875, True),
        3: Facts("", None, True),
        7: Facts("Zelle mit Ä", 0.5, False),
    }
    if len(shape) > 2:
        facts[9] = Facts()
    return ObjectSet(
        labels_of(shape),
        facts,
        kinds=KINDS,
        image="cells.tif",
        provenance={"model": "tiny"},
        **others,
    )


@pytest.mark.parametrize("shape", [PLANE, STACK])
@pytest.mark.parametrize("ending", ENDINGS)
def test_objects_come_back(tmp_path, ending, shape):
    if ending == ".png" and len(shape) > 2:
        pytest.skip("a PNG is a plane")
    path = tmp_path / f"cells{ending}"
    objects = objects_of(shape)
    for _ in range(2):  # the second replaces the first
        write(path, objects)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    found = read(path, shape, image="cells.tif")
    np.testing.assert_array_equal(found.labels, objects.labels)
    assert found.labels.dtype == np.uint32
    assert found.facts == objects.facts
    assert not found.covered
    assert not found.notes
    used = {name: KINDS[name] for name in ("nucleus", "Zelle mit Ä")}
    assert {name: found.kinds[name] for name in used} == used


@pytest.mark.parametrize("shape", [PLANE, STACK])
@pytest.mark.parametrize("ending", ENDINGS)
def test_overlaps_come_back(tmp_path, ending, shape):
    """Label images have one object a pixel; what lies beneath is kept beside them."""
    if ending == ".png" and len(shape) > 2:
        pytest.skip("a PNG is a plane")
    below = np.zeros(shape, bool)
    below[..., 5:25, 5:25] = True  # a square under the ring, 3 in its middle
    labels = labels_of(shape)
    labels[below & (labels == 0)] = 8
    hidden = Covered.of(below & (labels != 8), (0,) * len(shape))
    write(tmp_path / f"cells{ending}", ObjectSet(labels, {}, {8: hidden}))
    found = read(tmp_path / f"cells{ending}", shape)
    masks = {number: np.zeros(shape, bool) for number in found.numbers}
    for one in found.outlines():
        masks[one.number][one.plane][one.region] |= one.mask
    assert (masks[8] == below).all()
    assert (masks[2] == (labels_of(shape) == 2)).all()


def test_no_objects_at_all(tmp_path):
    for ending in ENDINGS:
        write(tmp_path / f"none{ending}", ObjectSet(np.zeros(PLANE, np.uint32)))
        assert not read(tmp_path / f"none{ending}", PLANE).numbers


# --- each format as others see it -----------------------------------------------------------------


def test_a_tiff_is_plain_labels_with_axes(tmp_path):
    write(tmp_path / "cells.tif", objects_of(STACK))
    with tifffile.TiffFile(tmp_path / "cells.tif") as file:
        assert file.series[0].axes == "ZYX"
        assert file.series[0].dtype == np.uint16
    many = ObjectSet(np.full(PLANE, 70000, np.uint32))
    write(tmp_path / "many.tif", many)
    assert tifffile.imread(tmp_path / "many.tif").dtype == np.uint32


def test_a_png_has_16_bit_and_says_what_it_cannot_hold(tmp_path):
    write(tmp_path / "cells.png", objects_of(PLANE))
    with Image.open(tmp_path / "cells.png") as file:
        assert file.mode == "I;16"
    with pytest.raises(ImageError, match="65535"):
        write(tmp_path / "cells.png", ObjectSet(np.full(PLANE, 70000, np.uint32)))
    with pytest.raises(ImageError, match="single plane"):
        write(tmp_path / "cells.png", objects_of(STACK))
    assert read(tmp_path / "cells.png", PLANE).numbers == [2, 3, 7]  # as it was


def test_ome_zarr_is_valid_and_has_a_pyramid(tmp_path):
    shape = (2, 1300, 1400)
    labels = np.zeros(shape, np.uint32)
    labels[1, 100:400, 200:600] = 5
    objects = ObjectSet(labels, {5: Facts("nucleus", 0.9)}, kinds=KINDS, scale=(2.0, 0.5, 0.5))
    write(tmp_path / "cells.zarr", objects)
    yaozarrs.validate_zarr_store(tmp_path / "cells.zarr")
    group = zarr.open_group(tmp_path / "cells.zarr", mode="r")
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (scales,) = ome["multiscales"]
    assert len(scales["datasets"]) == 2
    assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == [2.0, 0.5, 0.5]
    (colour,) = ome["image-label"]["colors"]
    assert (colour["label-value"], colour["rgba"]) == (5, [255, 128, 0, 255])
    np.testing.assert_array_equal(group["1"][:], labels[:, ::2, ::2])


def test_labels_go_into_the_ome_zarr_of_their_image(tmp_path):
    image = tmp_path / "image.zarr"
    LabelImage.create(
        tmp_path / "make", "image", ImageRef.open(np.zeros(STACK, np.uint8)), dtype="uint32",
        tile=(64, 64), made_from={},
    )  # fmt: skip
    (tmp_path / "make" / "labels" / "image").rename(image)
    attributes = zarr.open_group(image).attrs
    attributes["ome"] = {k: v for k, v in attributes["ome"].items() if k != "image-label"}
    path = image / "labels" / "cells"
    for _ in range(2):
        write(path, objects_of(STACK))
    group = zarr.open_group(image, mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["cells"]
    assert group["labels/cells"].attrs["ome"]["image-label"]["source"] == {"image": "../../"}
    for where in (path, image):
        np.testing.assert_array_equal(read(where, STACK).labels, labels_of(STACK))
    assert sorted(one.name for one in path.parent.iterdir()) == ["cells", "zarr.json"]
    with pytest.raises(ImageError, match="has \\(3, 40, 60\\)"):
        write(path, objects_of(PLANE))
    assert read(path, STACK).facts == objects_of(STACK).facts


def test_geojson_as_qupath_writes_it(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[2, 3], [6, 3], [6, 8], [2, 8], [2, 3]]]}
    features = [
        {"type": "Feature", "geometry": square, "properties": {
            "classification": {"name": "Tumor", "color": [200, 0, 0]}}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates":
            [[[500, 500], [510, 500], [510, 510]]]}, "properties": None},
    ]  # fmt: skip
    path = tmp_path / "qupath.geojson"
    path.write_text(json.dumps(features))
    found = read(path, PLANE)
    expected = np.zeros(PLANE, bool)
    expected[3:8, 2:6] = True
    assert ((found.labels == 1) == expected).all()
    assert found.facts == {1: Facts("Tumor")}
    assert found.kinds == {"Tumor": "#c80000"}
    assert "2 without a pixel" in found.notes


def test_coco_polygons_of_one_image_among_several(tmp_path):
    value = {
        "images": [{"id": i, "file_name": f"a/{n}.png", "height": 40, "width": 60}
                   for i, n in ((4, "one"), (5, "two"))],
        "categories": [{"id": 3, "name": "cell"}],
        "annotations": [
            {"id": 1, "image_id": i, "category_id": 3, "iscrowd": 0,
             "segmentation": [[2, 3, 6, 3, 6, 8, 2, 8]]} for i in (4, 5, 5)],
    }  # fmt: skip
    path = tmp_path / "all.json"
    path.write_text(json.dumps(value))
    found = read(path, PLANE, image="two.png")
    assert found.numbers == [1, 2]  # the second lies beneath the first, wholly
    assert found.facts[2] == Facts("cell")
    assert read(path, PLANE, image="one.png").numbers == [1]
    with pytest.raises(ImageError, match=r"three\.png"):
        read(path, PLANE, image="three.png")


def test_rois_drawn_in_imagej(tmp_path):
    roifile = imagej.require()
    polygon = roifile.ImagejRoi.frompoints([[2, 3], [6, 3], [6, 8], [2, 8]])
    oval = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.OVAL, left=20, top=10, right=30, bottom=20, name="o"
    )
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, name="l", x1=1, y1=1, x2=5, y2=5)
    oval.group = 4
    roifile.roiwrite(tmp_path / "set.zip", [polygon, oval, line])
    found = read(tmp_path / "set.zip", PLANE)
    assert (found.labels == 1).sum() == 20
    assert abs((found.labels == 2).sum() - 25 * np.pi) < 5
    assert found.facts[2].kind == "group 4"
    assert "1 without" in found.notes


def test_without_roifile_the_pip_line_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    with pytest.raises(MissingExtraError, match=r"napari-sam\[imagej\]"):
        write(tmp_path / "cells.zip", objects_of(PLANE))
    assert not list(tmp_path.iterdir())


# --- wrong files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_wrong_file_is_told_by_its_name(tmp_path, ending):
    path = tmp_path / f"wrong{ending}"
    path.write_bytes(b"what is this")
    with pytest.raises(ImageError, match=f"wrong{ending}"):
        read(path, PLANE)
    with pytest.raises(ImageError, match="There is no file"):
        read(tmp_path / f"gone{ending}", PLANE)


@pytest.mark.parametrize("ending", [".tif", ".zarr", ".png", ".coco.json"])
def test_labels_of_another_image_are_refused(tmp_path, ending):
    path = tmp_path / f"cells{ending}"
    write(path, ObjectSet(np.ones((40, 61), np.uint32)))
    with pytest.raises(ImageError, match="61"):
        read(path, PLANE)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(PLANE, 0.5, np.float32), "whole numbers"),
        (np.full(PLANE, -1, np.int16), "negative"),
        (np.full(PLANE, 1 << 40, np.int64), "above"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path, values, said):
    tifffile.imwrite(tmp_path / "cells.tif", values)
    with pytest.raises(ImageError, match=said):
        read(tmp_path / "cells.tif", PLANE)


def test_an_unknown_ending_lists_those_that_are_known(tmp_path):
    with pytest.raises(ImageError, match=r"\.geojson"):
        write(tmp_path / "cells.xyz", objects_of(PLANE))
    with pytest.raises(FileNotFoundError, match="no folder"):
        write(tmp_path / "nowhere" / "cells.tif", objects_of(PLANE))
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(FileExistsError, match="something else"):
        write(tmp_path / "folder.tif", objects_of(PLANE))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, ending, monkeypatch):
    path = tmp_path / f"cells{ending}"
    write(path, objects_of(PLANE))

    def full(*_, **__):
        raise OSError("No space left on device")

    for module, name in ((files, "write_together"), (ome_zarr, "move_there")):
        monkeypatch.setattr(module, name, full)
    with pytest.raises(OSError, match="No space"):
        write(path, ObjectSet(np.ones(PLANE, np.uint32)))
    assert read(path, PLANE).numbers == [2, 3, 7]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


# --- parts ----------------------------------------------------------------------------------------


def test_a_mask_of_rings_takes_pixels_whose_centres_lie_within():
    mask, offset = mask_of_rings([[(0.6, 0.4), (3.4, 0.4), (3.4, 2.6), (0.6, 2.6)]], (10, 10))
    assert offset == (0, 1)
    assert mask.shape == (3, 2)
    assert mask.all()
    assert mask_of_rings([[(0, 0), (0.4, 0), (0.4, 0.4)]], (10, 10)) is None
    assert mask_of_rings([[(1, 1), (2, 2)]], (10, 10)) is None


def test_covered_masks_are_cut_and_joined():
    mask = np.zeros((6, 6), bool)
    mask[2:4, 1:5] = True
    one = Covered.of(mask, (10, 20))
    assert (one.offset, one.shape) == ((12, 21), (2, 4))
    assert (one.on((slice(10, 16), slice(20, 26))) == mask).all()
    assert one.on((slice(13, 14), slice(0, 22))).sum() == 1
    assert not one.on((slice(0, 3), slice(0, 3))).any()
    assert Covered.of(mask & False, (0, 0)) is None
    assert Covered.from_json(json.loads(json.dumps(one.to_json()))) == one
    other = Covered.of(mask, (11, 20))
    assert both(one, other).mask.sum() == 12
    assert both(None, one) is one


def test_outlines_without_a_number_get_free_ones():
    square = np.ones((2, 2), bool)
    found = paint(
        [Outline(square, (0, 0)), Outline(square, (4, 4), 5), Outline(square, (8, 8))], PLANE
    )
    assert found.numbers == [5, 6, 7]
