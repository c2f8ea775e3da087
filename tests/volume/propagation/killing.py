"""A propagation in a process of its own that can be killed, and what it leaves."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np

from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation.memory import FolderMemory
from napari_sam.volume.propagation.params import PropagateParams
from napari_sam.volume.propagation.volume import propagate_volume
from tests.volume.fakes import Greys, cells

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])  # torch and zarr are imported once
PARAMS = PropagateParams(
    mode="points",
    least_overlap=0.01,
    most_area_change=50,
    least_contrast=0.0,
    stiffness=0.0,
    grey_weight=0.0,
)


def whole_run(folder: Path, kill_after: int | None = None) -> None:
    """Propagate from two key planes; die after so many planes were kept."""
    if kill_after is not None:
        _die_after(kill_after)
    image, truth = cells((9, 60, 90), count=6)
    seeds = np.zeros_like(truth)
    seeds[[3, 6]] = truth[[3, 6]]
    job = VolumeJob(ImageRef.open(image), VolumeIntensity(None), Greys(), 200, 0)
    found = finish(propagate_volume(job, ImageRef.open(seeds), folder, PARAMS))
    rows = "\n".join(map(repr, found.rows))
    (folder / "rows.txt").write_text(rows)


def run_apart(folder: Path, kill_after: int | None = None) -> int:
    """The run in a new process; its exit code."""
    process = _context.Process(target=whole_run, args=(folder, kill_after))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def left_behind(folder: Path) -> dict[str, bytes]:
    """All files with their bytes, but for what was half written; labels without their process."""
    found: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        name = "labels" if name.startswith("labels-") else name
        if path.is_file() and path.suffix != ".part":
            assert name not in found, "a killed process left its labels"
            found[name] = path.read_bytes()
    return found


def _die_after(count: int) -> None:
    write = FolderMemory.write

    def counted(*args: object) -> None:
        nonlocal count
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        count -= 1
        write(*args)  # type: ignore[arg-type]

    FolderMemory.write = counted  # type: ignore[method-assign,assignment]
