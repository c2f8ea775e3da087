"""Labelled images of every kind become the same value."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.errors import ImageError
from napari_sam.evaluation.sources import open_images
from tests.evaluation.fakes import discs

LABELS = discs().astype(np.uint8)
GREY = np.where(LABELS > 0, 180, 30).astype(np.uint8)


def one_plane(path, **only):
    source = open_images(path)
    (item,) = source.items
    (sample,) = source.planes(item, 1)
    return source, item, sample


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("a.tif", "a_label.tif"),
        ("a.png", "a_masks.png"),
        ("images/a.tif", "labels/a.png"),
        ("images/a.png", "masks/a_mask.npy"),
    ],
)
def test_a_folder_of_images_and_label_images(tmp_path, image, labels):
    for name, array in ((image, GREY), (labels, LABELS)):
        path = tmp_path / "cells" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif":
            tifffile.imwrite(path, array)
        elif path.suffix == ".npy":
            np.save(path, array)
        else:
            Image.fromarray(array).save(path)
    source, item, sample = one_plane(tmp_path / "cells")
    assert (source.name, item["id"], sample.name) == ("cells", "cells/a", "cells/a")
    assert sample.picture.shape == (*LABELS.shape, 3)
    np.testing.assert_array_equal(sample.labels, LABELS)


def test_a_coco_file_with_polygons_run_lengths_and_a_crowd(tmp_path):
    coding = pytest.importorskip("pycocotools.mask")
    code = coding.encode(np.asfortranarray(LABELS == 1))
    code["counts"] = code["counts"].decode()
    square = [10, 40, 20, 40, 20, 50, 10, 50]  # x, y
    annotations = [
        {"image_id": 3, "segmentation": code},
        {"image_id": 3, "segmentation": [square]},
        {"image_id": 3, "segmentation": {"size": list(LABELS.shape), "counts": [0, 50, 4750]},
         "iscrowd": 1},
    ]  # fmt: skip
    content = {
        "images": [{"id": 3, "file_name": "a.png"}, {"id": 4, "file_name": "without.png"}],
        "annotations": annotations,
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    Image.fromarray(GREY).save(tmp_path / "images/a.png")
    _, item, sample = one_plane(tmp_path / "set.json")
    assert item["sparse_annotation"]
    assert sample.labels.max() == 2  # the crowd is no object
    np.testing.assert_array_equal(sample.labels == 1, LABELS == 1)  # the larger one
    assert sample.labels[45, 15] == 2


def test_an_ome_zarr_image_with_labels(tmp_path):
    import zarr

    def write(group, axes, array):
        names = [{"name": name, "type": "space"} for name in axes]
        steps = [{"type": "scale", "scale": [1.0] * len(axes)}]
        data = [{"path": "0", "coordinateTransformations": steps}]
        group.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [{"axes": names, "datasets": data}],
        }
        group.create_array("0", data=array)

    root = zarr.open_group(tmp_path / "stack.zarr", mode="w", zarr_format=3)
    write(root, "zyx", np.stack([GREY] * 6))
    labels = root.create_group("labels")
    labels.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    planes = np.stack([LABELS * (z != 2) for z in range(6)])
    write(labels.create_group("cells"), "zyx", planes)

    source = open_images(tmp_path / "stack.zarr")
    (item,) = source.items
    names = [sample.name for sample in source.planes(item, 10)]
    assert names == [f"stack.zarr/cells#{z}" for z in (0, 1, 3, 4, 5)]  # of 2 nothing is labelled
    assert [sample.name[-1] for sample in source.planes(item, 2)] == ["1", "4"]
    volume = source.volume(item)
    assert volume.picture.shape == (6, *LABELS.shape, 3)
    np.testing.assert_array_equal(volume.labels, planes)


def write_pack(folder, **item):
    known = {"id": "s/1", "image": "i.tif", "label": "l.tif", "modality": "CT", "dataset": "s"}
    item = known | {"label_kind": "instance", "gt_origin": "manual"} | item
    (folder / "manifest.json").write_text(json.dumps([item]))


def test_channels_and_frames_of_a_pack(tmp_path):
    film = np.stack([np.stack([GREY, GREY // 2])] * 3)
    tifffile.imwrite(tmp_path / "i.tif", film, photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", np.stack([LABELS] * 3), photometric="minisblack")
    write_pack(tmp_path, axes="TCYX", label_axes="TYX")
    source = open_images(tmp_path)
    samples = list(source.planes(source.items[0], 2))
    assert [sample.name for sample in samples] == ["s/1#0", "s/1#2"]
    assert samples[0].picture.shape == (*LABELS.shape, 3)


def test_a_film_in_a_folder_takes_the_frames_whose_masks_fit(tmp_path):
    for folder in ("frames", "masks"):
        (tmp_path / folder).mkdir()
    colours = np.repeat(GREY[..., None], 3, -1)
    for number in range(4):
        Image.fromarray(colours).save(tmp_path / f"frames/{number}.png")
    Image.fromarray(LABELS).save(tmp_path / "masks/1.png")
    Image.fromarray(LABELS[:, :-1]).save(tmp_path / "masks/2.png")  # so it comes in one of DAVIS
    Image.fromarray(LABELS).save(tmp_path / "masks/3.png")
    write_pack(tmp_path, image="frames", label="masks", axes="TYXC", n_frames=4)
    source = open_images(tmp_path)
    assert [sample.name for sample in source.planes(source.items[0], 9)] == ["s/1#0", "s/1#1"]


def test_labels_that_do_not_fit_are_refused_with_both_sizes(tmp_path):
    tifffile.imwrite(tmp_path / "i.tif", GREY)
    tifffile.imwrite(tmp_path / "l.tif", LABELS[:-1])
    write_pack(tmp_path, axes="YX")
    source = open_images(tmp_path)
    with pytest.raises(ImageError, match=r"s/1: the labels .* y 59.* do not fit .* y 60"):
        list(source.planes(source.items[0], 1))


def test_what_is_no_images_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ImageError, match=r"no folder with images, no OME-Zarr"):
        open_images(tmp_path / "x.txt")
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ImageError, match=r"no COCO file"):
        open_images(tmp_path / "x.json")
    with pytest.raises(ImageError, match=r"has no labelled images"):
        open_images(tmp_path)
