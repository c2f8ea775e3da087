"""Whole volumes on disk: killed and gone on with, and in bounded memory."""

from pathlib import Path

import numpy as np
import pytest

from napari_sam.progress import Progress, finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation import consensus
from napari_sam.volume.propagation import job as job_module
from napari_sam.volume.propagation.between import Between
from napari_sam.volume.propagation.consensus import consensus_volume
from napari_sam.volume.propagation.key_plane import KeyPlane
from napari_sam.volume.propagation.volume import Curve, PropagatedVolume, propagate_volume
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
    assert check_kills(tmp_path, range(100)) > 5  # as many as there are planes to carry to


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


def test_a_voxel_gets_what_two_of_three_axes_say(tmp_path: Path, monkeypatch) -> None:
    shape = (1, 3, 4, 5)
    first, second, third, seeds = (np.zeros(shape, np.uint16) for _ in range(4))
    first[..., 0], first[..., 1], first[..., 3] = 7, 7, 7
    second[..., 0], second[..., 2], second[..., 3] = 7, 7, 8
    third[..., 2], third[..., 3], third[..., 1] = 7, 9, 8
    seeds[0, 1, :, 1] = 7
    answers = iter([first, second, third])

    def carried(*_, **__):
        yield Progress(0, 1)
        rows = [Curve(0, z, 7, 0.9, "forward", 12) for z in range(3)]
        return PropagatedVolume(next(answers), rows)

    monkeypatch.setattr(consensus, "propagate_volume", carried)
    job = VolumeJob(ImageRef.open(first[0]), VolumeIntensity(None), Greys(), 200, 0)
    found = finish(consensus_volume(job, ImageRef.open(seeds, axes="tzyx"), tmp_path))
    assert (found.labels[0, 0] == [7, 0, 7, 0, 0]).all()
    assert (found.labels[0, 1] == [7, 7, 7, 0, 0]).all()  # a seed stays
    assert [row.area for row in found.rows] == [8, 12, 8]
