"""Whole volumes on disk: killed and gone on with, and in bounded memory."""

from pathlib import Path

import numpy as np
import pytest

from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation import job as job_module
from napari_sam.volume.propagation.between import Between
from napari_sam.volume.propagation.key_plane import KeyPlane
from napari_sam.volume.propagation.volume import propagate_volume
from tests.volume.fakes import Greys
from tests.volume.propagation.killing import PARAMS, left_behind, run_apart, whole_run
from tests.volume.propagation.runs import BOX, noise, plane, run


def check_kills(tmp_path: Path, moments: range) -> int:
    whole_run(tmp_path / "whole")
    expected = left_behind(tmp_path / "whole")
    killed = 0
    for moment in moments:
        folder = tmp_path / f"killed-{moment}"
        folder.mkdir()
        if run_apart(folder, moment) == 0:
            return killed
        killed += 1
        assert not (folder / "rows.txt").exists()
        whole_run(folder)
        assert left_behind(folder) == expected
    return killed


def test_killed_and_begun_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert check_kills(tmp_path, range(2, 7, 4)) == 2


@pytest.mark.kill
def test_killed_after_any_plane(tmp_path: Path) -> None:
    assert check_kills(tmp_path, range(100)) > 10


def test_planes_that_were_handed_out_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Watched(Between):
        def settle(self, plane):
            held.append(len(self.forward) + len(self.backward))
            return super().settle(plane)

    monkeypatch.setattr(job_module, "Between", Watched)
    run(noise(60, 20, 24), [KeyPlane(30, plane((20, 24), o1=(2, 2, 9, 9)))], params=BOX)
    assert len(held) == 60 and max(held) <= 1


def test_one_time_point_after_the_other(tmp_path: Path) -> None:
    image = np.zeros((2, 4, 20, 24), np.uint8)
    image[0, :3, 3:9, 3:9], image[1, 1:, 10:16, 10:16] = 90, 160
    seeds = np.zeros((2, 4, 20, 24), np.uint8)
    seeds[0, 0, 3:9, 3:9], seeds[1, 2, 10:16, 10:16] = 5, 7
    ref = ImageRef.open(image, axes="tzyx")
    job = VolumeJob(ref, VolumeIntensity(None), Greys(), 200, 0)
    found = finish(propagate_volume(job, ImageRef.open(seeds, axes="tzyx"), tmp_path, PARAMS))
    expected = (image == 90) * 5 + (image == 160) * 7
    assert (np.asarray(found.labels) == expected).all()
    assert found.ids == (5, 7) and set(found.parts) == {0, 1}
