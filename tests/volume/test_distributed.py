"""The runner on worker processes: equal to the serial one, whatever dies."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from napari_sam.core.params import AutomaticParams
from napari_sam.errors import ClusterError, ImageError, StoreError, WeightsError
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams
from napari_sam.volume.pipelines import VolumeJob, segment_volume, stitch_volume
from napari_sam.volume.run import run
from napari_sam.volume.stitching import _find
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import Tile
from tests.volume.fakes import Greys, cells
from tests.volume.killing import left_behind

pytest.importorskip("distributed")
from napari_sam.volume.distributed import ClusterRunner, connect, local_workers

PARAMS = AutomaticParams(points_per_side=12, pred_iou_thresh=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "cells.npy"
    np.save(path, cells((3, 90, 100), count=12)[0])
    return path


@pytest.fixture(scope="module")
def workers() -> Iterator[ClusterRunner]:
    with local_workers(2) as runner:
        yield runner


@dataclass(frozen=True)
class Deadly(Greys):
    """Kills its worker at its first picture, once for each mark that is there."""

    marks: str = ""
    spared: int = field(default_factory=os.getpid)  # this process looks at an empty picture

    def encode(self, image, **kwargs):
        for mark in Path(self.marks).glob("*") if os.getpid() != self.spared else ():
            try:
                mark.unlink()
            except FileNotFoundError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(image, **kwargs)


@dataclass(frozen=True)
class Refuses(Greys):
    def load(self):
        raise WeightsError("the weights are not on this machine.")


def volume_job(path: Path, model: Greys | None = None) -> VolumeJob:
    return VolumeJob(ImageRef.open(path), VolumeIntensity(None), model or Greys(), 48, 12)


def whole(path: Path, folder: Path, model: Greys | None = None, **kwargs: object) -> dict:
    job = volume_job(path, model)
    store = finish(
        segment_volume(
            job, folder / "tiles", params=PARAMS, embeddings=folder / "embeddings", **kwargs
        )
    )
    runner = kwargs.get("runner", run)
    finish(stitch_volume(store, job.image, folder / "labels.zarr", "cells", runner=runner))
    return left_behind(folder)


def test_workers_make_the_bytes_of_the_serial_runner(
    data: Path, workers: ClusterRunner, tmp_path: Path
) -> None:
    expected = whole(data, tmp_path / "serial")
    assert any(name.startswith("tiles/labels/c.") for name in expected)
    assert whole(data, tmp_path / "many", runner=workers) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_worker_that_dies_in_mid_tile_loses_nothing(
    data: Path, workers: ClusterRunner, tmp_path: Path
) -> None:
    expected = whole(data, tmp_path / "serial")
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / "0").touch()
    assert whole(data, tmp_path / "many", Deadly(marks=str(marks)), runner=workers) == expected
    assert not list(marks.iterdir())  # one did die


@dataclass(frozen=True)
class Dying:
    """Workers of whom one dies in each round of stitching that has a mark."""

    workers: ClusterRunner
    marks: Path

    def spread(self, function, calls, *, keep=False):
        marked = ((str(self.marks / function.__name__), function, *call) for call in calls)
        return self.workers.spread(dies_once, marked, keep=keep)


def dies_once(mark: str, function, *arguments):
    try:
        Path(mark).unlink()
    except FileNotFoundError:
        return function(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    "rounds",
    [["_write"], pytest.param(["_find", "_measure", "_write"], marks=pytest.mark.kill)],
)
def test_workers_stitch_the_same_bytes_whoever_dies(
    data: Path,
    workers: ClusterRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rounds: list[str],
) -> None:
    monkeypatch.setattr("napari_sam.volume.stitching.SLAB", 1)
    job = volume_job(data)
    store = finish(segment_volume(job, tmp_path / "tiles", params=PARAMS))
    links = LinkParams(gap=1)
    finish(stitch_volume(store, job.image, tmp_path / "serial", "a", params=links))
    marks = tmp_path / "marks"
    marks.mkdir()
    for name in rounds:
        (marks / name).touch()
    dying = Dying(workers, marks)
    stitching = stitch_volume(store, job.image, tmp_path / "many", "a", params=links, runner=dying)
    steps = list(stitching)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total == 9
    assert not list(marks.iterdir())  # one did die
    assert left_behind(tmp_path / "many") == left_behind(tmp_path / "serial")
    assert not list((tmp_path / "tiles").glob("claims/plane-*"))


def test_what_a_worker_cannot_stitch_is_said(
    data: Path, workers: ClusterRunner, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"does not see .*gone"):
        list(workers.spread(_find, [(str(tmp_path / "gone"), 0)]))
    with pytest.raises(ClusterError, match="a worker cannot work: ZeroDivisionError"):
        list(workers.spread(divmod, [(1, 1), (1, 0)]))


def test_what_cannot_be_done_on_a_worker_is_said(
    data: Path, workers: ClusterRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam.volume.distributed.ANSWER_S", 0.5)
    job = volume_job(data, Refuses())
    with pytest.raises(WeightsError, match="not on this machine"):
        finish(segment_volume(job, tmp_path / "a", params=PARAMS, runner=workers))
    large = VolumeJob(
        ImageRef.open(np.zeros((2, 2000, 2000), np.uint8)), VolumeIntensity(None), Greys(), 512, 64
    )
    with pytest.raises(ClusterError, match=r"8 MB along: an image in memory"):
        finish(segment_volume(large, tmp_path / "b", params=PARAMS, runner=workers))
    nobody = connect("tcp://127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127.0.0.1:1 "), nobody:
        pass


@dataclass(frozen=True)
class Unreadable:
    """Work: tile 1 cannot be read, another one fails twice as a file system may."""

    marks: str

    def __call__(self, tile: Tile) -> dict[str, np.ndarray]:
        if tile.index == 1:
            raise ImageError("torn")
        if tile.index == 2:
            mark = Path(self.marks) / str(time.monotonic_ns())
            mark.touch()
            if len(list(mark.parent.iterdir())) < 3:
                raise TimeoutError("no answer")
        return {"labels": np.full((72, 72), tile.index, np.uint32)}


def test_a_tile_that_cannot_be_read_fails_alone_and_what_may_pass_is_tried_again(
    data: Path, workers: ClusterRunner, tmp_path: Path
) -> None:
    begun = segment_volume(volume_job(data), tmp_path / "s", params=PARAMS)
    next(begun)
    begun.close()
    store = TileStore.open(tmp_path / "s")
    (tmp_path / "marks").mkdir()
    job = workers(Unreadable(str(tmp_path / "marks")), store)
    steps = list(job)
    assert steps[-1].done == steps[-1].total == len(store)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert store.failures() == {1: "torn"}
    assert np.flatnonzero(~store.done()).tolist() == [1]


def test_a_closed_job_goes_on_where_it_was(
    data: Path, workers: ClusterRunner, tmp_path: Path
) -> None:
    job = segment_volume(volume_job(data), tmp_path / "s", params=PARAMS, runner=workers)
    while next(job).done < 2:
        pass
    job.close()
    done = int(TileStore.open(tmp_path / "s").done().sum())
    assert 2 <= done < len(volume_job(data).grid)
    store = finish(segment_volume(volume_job(data), tmp_path / "s", params=PARAMS, runner=workers))
    assert store.done().all()
