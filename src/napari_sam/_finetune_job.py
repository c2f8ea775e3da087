"""Fine-tuning as a job: layers to files, then another program, watched until its end.

The program is ``napari-sam finetune --attended``: a window must not share its interpreter with
training. Knows files and processes; no session, no layers, no threads.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam._finetune import FinetuneOrder, LabelledLayer
from napari_sam.errors import TrainingError
from napari_sam.progress import Progress
from napari_sam.training.run_folder import RunReport, read_report

ERRORS = "errors.txt"
POLL_S = 0.2
READ_EVERY_S = 1.0
ENDING_S = 30.0  # in which a program that was asked to end keeps what it has learned
MOST_PLANES = 16  # of a stack: neighbours are nearly the same picture
LEAST_OBJECTS = 5
LEAST_AREA = 40  # pixels; smaller ones are not learned from
IN_FILES = ".tif"

Command = Callable[[FinetuneOrder], Sequence[str]]


def command_of(order: FinetuneOrder) -> list[str]:
    """The program that trains, with its arguments."""
    settings = order.settings
    words = [
        sys.executable, "-m", "napari_sam", "finetune", order.name, "--attended",
        "--images", str(order.images), "--run", str(order.folder), "--model", order.base,
        "--scope", settings.scope, "--minutes", f"{settings.minutes:g}",
        "--threads", str(os.cpu_count() or 1),
    ]  # fmt: skip
    if order.weights is not None:
        words += ["--weights", order.weights]
    return words + ["--replace"] * settings.replace_old


def run_order(
    order: FinetuneOrder, *, command: Command | None = None
) -> Generator[Progress, None, RunReport]:
    """Write the images if they are layers, train, and say how it stands. A job.

    Closed early, the program is asked to end, and keeps what it has learned.

    Raises
    ------
    TrainingError
        There is nothing to learn from, or what the program says.
    """
    if order.pairs:
        partial = order.images.with_suffix(".partial")
        yield from write_layers(order.pairs, partial)
        os.replace(partial, order.images)  # a run without all of its images cannot go on
    errors = order.folder / ERRORS
    words = (command or command_of)(order)
    with errors.open("w") as stream:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        yield from _watch(process, order.folder)
    finally:
        _end(process)
    if process.returncode:
        raise TrainingError(_sentence(errors, process.returncode))
    return read_report(order.folder)


def _watch(process: "subprocess.Popen[bytes]", folder: Path) -> Iterator[RunReport]:
    """How the run stands, again and again until it ends."""
    report, read = RunReport(0, 0, "Starting the program that trains ..."), 0.0
    while process.poll() is None:
        if time.monotonic() > read + READ_EVERY_S:
            report, read = read_report(folder, report), time.monotonic()
        yield report
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let it keep what it has; a program that does not listen is killed."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _sentence(errors: Path, code: int) -> str:
    """The last thing that the program has said."""
    said = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    if not said:
        return f"the program that trains has ended with code {code}."
    return said[-1].removeprefix("napari-sam: ")


def write_layers(pairs: Sequence[LabelledLayer], folder: Path) -> Generator[Progress, None, None]:
    """Write planes of layers that have labels as ``images/`` and ``labels/``. A job.

    Raises
    ------
    TrainingError
        There are too few objects.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    count = 0
    for number, pair in enumerate(pairs):
        yield Progress(number, len(pairs), f"Reading {pair.name} ...")
        planes = yield from _labelled_planes(pair)
        for index, labels in planes:
            name = _file_name(number, pair.name, index)
            plane = replace(pair.image, index=(*index, 0, 0))
            tifffile.imwrite(folder / "images" / name, plane.read())
            tifffile.imwrite(folder / "labels" / name, labels.astype(np.uint32))
            count += int((np.bincount(_compact(labels))[1:] >= LEAST_AREA).sum())
    if count < LEAST_OBJECTS:
        raise TrainingError(
            f"{count} objects of at least {LEAST_AREA} pixels are too few to learn from: label"
            f" {LEAST_OBJECTS} or more, better 20, in one or more images."
        )


def _labelled_planes(
    pair: LabelledLayer,
) -> Generator[Progress, None, list[tuple[tuple[int, ...], NDArray[Any]]]]:
    """Planes with labels, at most 16 of a stack, evenly spread: index and labels (H, W)."""
    shape = tuple(pair.labels.shape)
    places = list(np.ndindex(shape[:-2]))
    labelled = []
    for done, index in enumerate(places):
        yield Progress(done, len(places), f"Reading the labels of {pair.name} ...")
        if np.any(pair.labels[index]):
            labelled.append(index)
    count = min(MOST_PLANES, len(labelled))
    chosen = [labelled[(2 * k + 1) * len(labelled) // (2 * count)] for k in range(count)]
    return [(index, np.asarray(pair.labels[index])) for index in chosen]


def _file_name(number: int, name: str, index: tuple[int, ...]) -> str:
    """What comes after # is a plane of one stack: those stay together when some are set aside."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60]
    plane = "".join(f"#{i}" for i in index)
    return f"{number}-{plain}{plane}{IN_FILES}"


def _compact(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Labels as small numbers, background 0."""
    _, numbers = np.unique(np.concatenate([[0], labels.ravel()]), return_inverse=True)
    return np.asarray(numbers[1:])
