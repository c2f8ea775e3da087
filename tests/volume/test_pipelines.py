import json
from pathlib import Path

import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pydantic_zarr.v2
import pydantic_zarr.v3
import pytest
import yaozarrs
import zarr
from yaozarrs import v04

from napari_sam.core.params import AutomaticParams
from napari_sam.errors import StoreError, StoreIncompleteError, StoreMismatchError
from napari_sam.progress import Progress
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams
from napari_sam.volume.ome import LabelImage
from napari_sam.volume.pipelines import VolumeJob, embed_volume, segment_volume, stitch_volume
from napari_sam.volume.store import TileStore
from napari_sam.volume.work import read_embedding
from tests.volume.fakes import Greys, cells
from tests.volume.images import write_ome_zarr

PARAMS = AutomaticParams(points_per_side=24, pred_iou_thresh=0.5, min_mask_region_area=0)


def finish(job) -> object:
    steps = []
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            assert all(0 <= s.done <= s.total for s in steps)
            assert [s.done for s in steps] == sorted(s.done for s in steps)
            return end.value
        assert isinstance(step, Progress)
        steps.append(step)


def volume_job(source: object, *, side: int = 48, halo: int = 16, **kwargs: object) -> VolumeJob:
    image = ImageRef.open(source)
    intensity = VolumeIntensity.measure(image, kwargs.pop("intensity", "as_is"))
    return VolumeJob(image, intensity, Greys(**kwargs), side, halo)


def same_objects(found: np.ndarray, truth: np.ndarray) -> bool:
    """Whether two label images differ in nothing but their numbers."""
    pairs = np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def check_with_ome_zarr_models(labels: Path, version: str) -> None:
    """The second validator: metadata beside the arrays that are there."""
    module, specs = {
        "0.4": (ome_zarr_models.v04, pydantic_zarr.v2),
        "0.5": (ome_zarr_models.v05, pydantic_zarr.v3),
    }[version]
    known = {"ArraySpec": specs.ArraySpec, "GroupSpec": specs.GroupSpec}
    for model in (module.Image, module.ImageLabel):  # 1.6 forgets to, with pydantic 2.14
        model.model_rebuild(_types_namespace=known)
    module.ImageLabel.from_zarr(zarr.open_group(labels, mode="r"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_volume_is_segmented_without_seams_into_its_own_zarr(
    tmp_path: Path, version: str
) -> None:
    data, truth = cells((6, 150, 130))
    path = write_ome_zarr(tmp_path / "image.zarr", data, "zyx", version=version)
    job = volume_job(path)
    assert job.grid.cells == (3, 3)
    store = finish(segment_volume(job, tmp_path / "tiles", params=PARAMS))
    labels = finish(stitch_volume(store, job.image, path, "cells"))
    assert labels.path == path / "labels" / "cells"
    found = ImageRef.open(labels.path)
    assert (found.axes, found.spacing) == ("zyx", (2.0, 0.5, 0.5))
    array = np.stack([found.read((0, z)) for z in range(6)])
    assert array.dtype == np.uint32
    assert same_objects(array, truth)
    assert array.max() == len(np.unique(truth)) - 1  # compact
    yaozarrs.validate_zarr_store(str(path))
    check_with_ome_zarr_models(labels.path, version)
    if version == "0.5":
        listed = json.loads((path / "labels" / "zarr.json").read_text())
        assert listed["attributes"]["ome"]["labels"] == ["cells"]
    else:
        attributes = json.loads((labels.path / ".zattrs").read_text())
        assert v04.LabelImage.model_validate(attributes).image_label.source.image == "../../"
        assert json.loads((path / "labels" / ".zattrs").read_text())["labels"] == ["cells"]


def test_complete_labels_are_left_alone_and_others_refused(tmp_path: Path) -> None:
    data, _ = cells((2, 90, 90))
    job = volume_job(data)
    store = finish(segment_volume(job, tmp_path / "tiles", params=PARAMS))
    labels = finish(stitch_volume(store, job.image, tmp_path / "out.zarr", "a"))
    part = (slice(0, 10), slice(0, 10))
    labels.write((0, 1), part, np.full((10, 10), 77, np.uint32))  # an edit by hand
    again = finish(stitch_volume(store, job.image, tmp_path / "out.zarr", "a"))
    assert (again.read((0, 1), part) == 77).all()
    with pytest.raises(StoreMismatchError, match="was made with other settings"):
        finish(
            stitch_volume(store, job.image, tmp_path / "out.zarr", "a", params=LinkParams(gap=1))
        )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no zarr group"):
        finish(stitch_volume(store, job.image, tmp_path / "mine", "a"))
    with pytest.raises(StoreError, match="cannot be the name"):
        finish(stitch_volume(store, job.image, tmp_path / "out.zarr", "../a"))
    finish(stitch_volume(store, job.image, tmp_path / "out.zarr", "b"))
    listed = json.loads((tmp_path / "out.zarr" / "labels" / "zarr.json").read_text())
    assert listed["attributes"]["ome"]["labels"] == ["a", "b"]


def test_embeddings_are_kept_and_used(tmp_path: Path) -> None:
    data, _ = cells((2, 90, 90))
    job = volume_job(data)
    store = finish(embed_volume(job, tmp_path / "embeddings"))
    assert store.done().all()
    tile = job.grid.tile(5)
    embedding = read_embedding(store, 5)
    np.testing.assert_array_equal(embedding.features[0, 0], job.image.read(tile.plane, tile.read))
    assert embedding.frame.original == job.grid.read_size
    kept, fresh = (
        finish(segment_volume(job, tmp_path / name, params=PARAMS, embeddings=folder))
        for name, folder in (("kept", tmp_path / "embeddings"), ("fresh", tmp_path / "new"))
    )
    assert TileStore.open(tmp_path / "new").done().any()
    for index in range(len(job.grid)):
        np.testing.assert_array_equal(kept.read(index)["labels"], fresh.read(index)["labels"])
    with pytest.raises(StoreMismatchError, match=r"params.dtype = 'float16', now"):
        next(embed_volume(job, tmp_path / "embeddings", dtype="bfloat16"))


def test_another_image_model_or_intensity_is_refused(tmp_path: Path) -> None:
    data, _ = cells((2, 90, 90))
    finish(embed_volume(volume_job(data), tmp_path / "s"))
    other = data.copy()
    other[1, 5, 5] += 1
    for job, field in (
        (volume_job(other), "image.sample_xxh3_128"),
        (volume_job(data, name="other"), "model.name"),
        (volume_job(data, intensity=(0, 9)), "intensity.ranges"),
        (volume_job(data, halo=8), "grid.halo"),
    ):
        with pytest.raises(StoreMismatchError, match=field):
            next(embed_volume(job, tmp_path / "s"))


def test_a_job_that_is_closed_goes_on_where_it_was(tmp_path: Path) -> None:
    data, _ = cells((2, 90, 90))
    job = segment_volume(volume_job(data), tmp_path / "s", params=PARAMS)
    steps = [next(job) for _ in range(4)]
    assert [step.done for step in steps] == [0, 1, 2, 3]
    job.close()
    again = segment_volume(volume_job(data), tmp_path / "s", params=PARAMS)
    assert next(again).done == 3
    assert finish(again).done().all()


def test_what_cannot_be_read_fails_alone_and_is_tried_again(tmp_path: Path) -> None:
    data, _ = cells((3, 90, 90))
    path = write_ome_zarr(tmp_path / "image.zarr", data, "zyx")
    job = volume_job(path, intensity=(0, 255))
    chunk = path / "0" / "c" / "1" / "0" / "0"
    good = chunk.read_bytes()
    manifest_of = job.manifest("labels", {})  # reads the sample while the file is whole
    assert manifest_of.image["shape"] == [3, 90, 90]
    store = segment_volume(job, tmp_path / "s", params=PARAMS)
    next(store)
    chunk.write_bytes(b"torn")
    with pytest.raises(StoreIncompleteError, match=r"4 of 12 tiles are missing.*cannot be read"):
        finish(store)
    chunk.write_bytes(good)
    assert finish(segment_volume(job, tmp_path / "s", params=PARAMS)).failures() == {}


def test_a_time_series_is_not_linked_through_time(tmp_path: Path) -> None:
    data, truth = cells((3, 90, 90))
    job = volume_job(data.astype("uint8"))
    image = ImageRef.open(data[:, None], axes="tzyx")
    job = VolumeJob(image, job.intensity, job.model, 48, 16)
    store = finish(segment_volume(job, tmp_path / "s", params=PARAMS))
    labels = finish(stitch_volume(store, image, tmp_path / "o.zarr", "a"))
    whole = (slice(0, 90), slice(0, 90))
    found = [labels.read((t, 0), whole) for t in range(3)]
    assert all(same_objects(one, of) for one, of in zip(found, truth, strict=True))
    numbers = [set(np.unique(one)) - {0} for one in found]
    assert not numbers[0] & numbers[1] and not numbers[1] & numbers[2]


def test_the_pyramid_follows_edits_inside_the_touched_region(tmp_path: Path) -> None:
    image = ImageRef.open(np.zeros((2, 2100, 1500), np.uint8))
    labels = LabelImage.create(
        tmp_path, "a", image, dtype="uint32", tile=(768, 768), made_from={"by": "test"}
    )
    assert labels.levels == 3
    rng = np.random.default_rng(0)
    whole = (slice(0, 2100), slice(0, 1500))
    base = rng.integers(0, 99, (2100, 1500)).astype("uint32")
    labels.write((0, 1), whole, base)
    edited = (slice(701, 733), slice(3, 34))
    labels._arrays[0][1, 701:733, 3:34] = 1234
    labels.rebuild((0, 1), edited)
    base[edited] = 1234
    for level, array in enumerate(labels._arrays):
        np.testing.assert_array_equal(array[1], base[:: 2**level, :: 2**level])
        assert not array[0].any()
