"""A whole volume job in a process of its own that can be killed, and what it leaves."""

import multiprocessing
import os
import signal
from pathlib import Path

from napari_sam.core.params import AutomaticParams
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob, segment_volume, stitch_volume
from tests.volume.fakes import Greys, cells

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])  # torch and zarr are imported once


def whole_job(folder: Path, kill_after: int | None = None) -> None:
    """Embed, segment and stitch a small volume; die after so many files were written."""
    if kill_after is not None:
        _die_after(kill_after)
    data, _ = cells((2, 60, 100), count=12)
    job = VolumeJob(ImageRef.open(data), VolumeIntensity(None), Greys(), 48, 12)
    params = AutomaticParams(points_per_side=12, pred_iou_thresh=0.5)
    steps = segment_volume(job, folder / "tiles", params=params, embeddings=folder / "embeddings")
    store = _finish(steps)
    _finish(stitch_volume(store, job.image, folder / "labels.zarr", "cells"))


def start(folder: Path, kill_after: int | None = None) -> multiprocessing.Process:
    """The job in a new process."""
    process = _context.Process(target=whole_job, args=(folder, kill_after))
    process.start()
    return process  # type: ignore[return-value]


def left_behind(folder: Path) -> dict[str, bytes]:
    """All files with their bytes, but for locks and what was half written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".partial")
    }


def _die_after(count: int) -> None:
    import zarr.storage._local as local

    put = local._put

    def counted(*args: object, **kwargs: object) -> int:
        nonlocal count
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        count -= 1
        return put(*args, **kwargs)

    local._put = counted


def _finish(job) -> object:
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value
