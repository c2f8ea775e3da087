"""Labelled images: by modality, split, drawn, bundled; and crops of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from napari_sam.errors import ImageError, TrainingError
from napari_sam.progress import finish
from napari_sam.training import commands
from napari_sam.training.bundle import read_bundle, write_bundle
from napari_sam.training.crop_shape import CropShape
from napari_sam.training.crops import choose_objects, paste_objects
from napari_sam.training.dataset import LabelledCrops
from napari_sam.training.images import TrainingImages, read_labelled
from napari_sam.training.params import TrainParams
from tests.training.small import drawn_sample
from tests.volume.images import write_ome_zarr

MANY = [drawn_sample(f"n{i}", modality) for modality in ("SEM", "CT") for i in range(40)]


def test_a_split_holds_out_of_each_modality_and_does_not_depend_on_the_others():
    images = TrainingImages.from_samples([*MANY, drawn_sample("only", "MRI")])
    kept, aside = images.split(0.3)
    assert {m: len(s) for m, s in aside.by_modality.items()}.keys() == {"SEM", "CT"}
    assert 4 < len(aside.by_modality["CT"]) < 20
    assert len(kept.samples) + len(aside.samples) == 81
    alone, _ = TrainingImages.from_samples(MANY[:40]).split(0.3)
    assert [s.name for s in alone.samples] == [s.name for s in kept.by_modality["SEM"]]


def test_planes_of_a_stack_stay_on_one_side():
    planes = [drawn_sample(f"stack{i}#{z}") for i in range(20) for z in range(3)]
    kept, aside = TrainingImages.from_samples(planes).split(0.4)
    stems = [{s.name.split("#")[0] for s in side.samples} for side in (kept, aside)]
    assert stems[0] and stems[1] and not stems[0] & stems[1]


def test_images_labelled_by_hand_are_drawn_more_often():
    by_hand = drawn_sample("hand")
    by_model = replace(drawn_sample("model"), item={"gt_origin": "model"})
    images = TrainingImages.from_samples([by_hand, by_model], manual_weight=9.0)
    rng = np.random.default_rng(0)
    names = [images.draw(rng).name for _ in range(300)]
    assert 0.84 < names.count("hand") / 300 < 0.95


def test_nothing_to_learn_from_is_said():
    with pytest.raises(TrainingError, match="no labelled image"):
        TrainingImages.from_samples([drawn_sample("eye", "fundus")])
    blank = replace(drawn_sample(), labels=np.zeros((96, 96), np.int32))
    params = TrainParams(synthetic_share=0, crops=(CropShape(64, 1, 1, 1.0),))
    with pytest.raises(TrainingError, match="no object"):
        LabelledCrops(TrainingImages.from_samples([blank]), params).make(np.random.default_rng(0))


def test_drawn_scenes_and_pasted_objects_make_batches():
    params = TrainParams(synthetic_share=0.5, copy_paste=1.0, crops=(CropShape(64, 2, 3, 1.0),))
    crops = LabelledCrops(TrainingImages.from_samples([drawn_sample()]), params)
    first, again = (crops.make(np.random.default_rng(1)) for _ in range(2))
    assert first.images.shape == (2, 3, 64, 64) and first.labels.shape == (2, 16, 16)
    assert len(first.owner) == len(first.masks) and first.masks.flatten(1).any(1).all()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_pasted_objects_cover_what_was_there():
    rng = np.random.default_rng(0)
    picture, other = torch.zeros(3, 32, 32), torch.full((3, 32, 32), 200.0)
    labels, theirs = torch.ones(32, 32).long(), torch.zeros(32, 32).long()
    theirs[4:12, 6:20] = 5
    mixed, (level,) = paste_objects(rng, picture, labels, other, [theirs])
    assert (level[4:12, 6:20] == 6).all() and (level == 1).sum() == 32 * 32 - 8 * 14
    assert mixed[0, 8, 12] == 200 and mixed[0, 20, 20] == 0


def test_an_object_is_asked_for_twice_at_most():
    labels = torch.zeros(64, 64).long()
    labels[:20, :20], labels[30:50, 30:50] = 1, 2
    masks = choose_objects(np.random.default_rng(0), [labels], 64)
    assert masks is not None and len(masks) == 4
    assert len(torch.unique(masks.flatten(1).int(), dim=0)) == 2


def test_a_bundle_holds_the_same_bits(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    samples = [replace(drawn_sample("a#1"), picture=noise), drawn_sample("b", "CT")]
    report = finish(write_bundle(samples, tmp_path / "all.zip"))
    assert (report.items, report.left_out) == (2, 0)
    for before, after in zip(samples, read_bundle(tmp_path / "all.zip"), strict=True):
        assert (before.picture == after.picture).all() and (before.labels == after.labels).all()
        assert (before.name, before.modality, dict(before.item)) == (
            after.name, after.modality, dict(after.item),
        )  # fmt: skip


def test_a_bundle_that_is_too_large_is_thinned_in_every_modality(tmp_path: Path):
    rng = np.random.default_rng(0)
    samples = [
        replace(s, picture=rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)) for s in MANY[::8]
    ]
    whole = finish(write_bundle(samples, tmp_path / "all.zip"))
    half = whole.size / 2e6
    report = finish(write_bundle(samples, tmp_path / "half.zip", most_megabytes=half))
    assert report.size <= half * 1e6 and report.left_out + report.items == len(samples)
    kept = {s.modality for s in read_bundle(tmp_path / "half.zip")}
    assert kept == {"SEM", "CT"}
    with pytest.raises(TrainingError, match="no image fits"):
        finish(write_bundle(samples, tmp_path / "none.zip", most_megabytes=0.001))


def test_a_file_that_is_no_bundle_is_named(tmp_path: Path):
    (tmp_path / "some.zip").write_text("text")
    with pytest.raises(TrainingError, match=r"some\.zip is no bundle"):
        list(read_bundle(tmp_path / "some.zip"))


def test_the_command_writes_what_training_reads(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(
        TrainingImages, "from_packs", lambda packs: TrainingImages.from_samples(MANY[:3])
    )
    commands.pack([str(tmp_path / "x.zip"), "--pack", "anything"], prog="pack")
    assert "3 images" in capsys.readouterr().out
    assert len(list(read_bundle(tmp_path / "x.zip"))) == 3


def write_pair(folder: Path, name: str, labels: np.ndarray) -> None:
    from PIL import Image

    for part, pixels in (("images", labels > 0), ("labels", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / part / f"{name}.png")


def test_a_folder_and_an_ome_zarr_of_ones_own_are_read(tmp_path: Path):
    labels = drawn_sample().labels
    write_pair(tmp_path / "own", "a", labels)
    (sample,) = read_labelled(tmp_path / "own")
    assert (sample.labels > 0).sum() == (labels > 0).sum() and sample.modality == "own"
    assert TrainingImages.from_packs([tmp_path / "own"]).samples[0].name == "own/a"
    stack = np.stack([labels, labels.T]).astype(np.uint16)
    write_ome_zarr(tmp_path / "b.zarr", stack * 100, "zyx")
    zarr.create_group(tmp_path / "b.zarr" / "labels")
    write_ome_zarr(tmp_path / "b.zarr" / "labels" / "cells", stack, "zyx")
    planes = list(read_labelled(tmp_path / "b.zarr"))
    assert [p.labels.tolist() for p in planes] == [labels.tolist(), labels.T.tolist()]
    assert [p.name.partition("#")[0] for p in planes] == ["b.zarr/cells"] * 2


def test_labels_that_do_not_fit_the_image_are_said(tmp_path: Path):
    write_pair(tmp_path, "a", drawn_sample().labels)
    write_pair(tmp_path, "b", drawn_sample().labels)
    (tmp_path / "labels" / "b.png").unlink()
    write_pair(tmp_path / "other", "b", drawn_sample(side=120).labels)
    (tmp_path / "other" / "labels" / "b.png").rename(tmp_path / "labels" / "b.png")
    with pytest.raises(ImageError, match="do not fit"):
        TrainingImages.from_packs([tmp_path])
    with pytest.raises(ImageError, match="no folder"):
        list(read_labelled(tmp_path / "nothing"))
