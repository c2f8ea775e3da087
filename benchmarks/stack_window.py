"""Many objects carried through a stack in the real window: time per object and plane, pauses.

The command: ``xvfb-run python -m benchmarks.stack_window``. Drawn tubes of bright discs that drift;
all labels of the middle plane are propagated both ways by the bundled model. Prints the time, the
longest time in which the window did not answer, how much of the tubes was found, and the peak of
the memory; then what one undo takes.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from benchmarks.beats import Beats

os.environ.setdefault("XDG_DATA_HOME", tempfile.mkdtemp())  # no journal among the user's own
PATIENCE_S = 7200


def tubes(
    count: int, planes: int, side: int, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Image and labels (planes, side, side) of tubes on a lattice, each with a drift of its own."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(count**0.5))
    step = side / across
    rows, columns = np.indices((side, side))
    labels = np.zeros((planes, side, side), np.uint16)
    for one in range(count):
        y, x = (one // across + 0.5) * step, (one % across + 0.5) * step
        drift, radius = rng.uniform(-0.12, 0.12, 2) * step, step * rng.uniform(0.22, 0.32)
        for plane in range(planes):
            along = plane / max(1, planes - 1) - 0.5
            far = (rows - y - drift[0] * along) ** 2 + (columns - x - drift[1] * along) ** 2
            labels[plane][far < (radius * (1 - 0.4 * abs(along))) ** 2] = one + 1
    bright = rng.integers(90, 200, count + 1)
    bright[0] = 30
    image = np.clip(bright[labels] + rng.normal(0, 12, labels.shape), 0, 255)
    return image.astype(np.uint8), labels


def main() -> None:
    """Make the stack, open the window, propagate, undo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=50)
    parser.add_argument("--planes", type=int, default=100)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument(
        "--no-model", action="store_true",
        help="the true objects come plane by plane, as fast as they can: pauses of the window only",
    )  # fmt: skip
    given = parser.parse_args()
    image, truth = tubes(given.objects, given.planes, given.side)

    import napari

    from napari_sam._widget import SegmentAnything

    viewer = napari.Viewer(title="napari-sam")
    viewer.add_image(image, name="tubes")
    seeds = np.zeros_like(truth)
    middle = given.planes // 2
    seeds[middle] = truth[middle]
    viewer.add_labels(seeds, name="found")
    dock = SegmentAnything(viewer)
    viewer.window.add_dock_widget(dock, name="Segment Anything (napari-sam)")
    session, tab = dock.session, dock.propagating
    _wait(lambda: bool(session.outputs))
    session.choose_output(next(ref.token for ref in session.outputs if ref.name == "found"))
    viewer.dims.set_point(0, float(middle))
    tab.change(what="plane")
    if given.no_model:
        _answer_with(truth)
    painted = time.monotonic() + 2
    _wait(lambda: time.monotonic() > painted)  # the new window; it takes half a second of work
    beats = Beats()

    def carry() -> None:
        tab.propagate()
        _wait(lambda: tab.run is not None and not tab.busy)

    _report("propagate", beats, carry, given)
    found = (seeds > 0) & (seeds == truth)
    share = found.sum() / ((seeds > 0) | (truth > 0)).sum()
    print(f"{session.message} IoU with the tubes: {share:.3f}")
    _report("undo", beats, session.undo, given)
    dock.shut()
    viewer.close()


def _answer_with(truth: NDArray[np.uint16]) -> None:
    """In place of the model: true objects, both ways from the middle."""
    from scipy import ndimage

    from napari_sam.volume.propagation import job
    from napari_sam.volume.propagation.result import (
        PlaneObject,
        PlaneResult,
        Propagation,
        PropagationProgress,
    )

    def answers(*_: object, **__: object) -> Generator[PropagationProgress, None, Propagation]:
        middle = len(truth) // 2
        order = [*range(middle, len(truth)), *range(middle - 1, -1, -1)]
        for done, plane in enumerate(order):
            objects = tuple(
                PlaneObject(one, truth[plane][region] == one, region, 1.0, "forward")
                for one, region in enumerate(ndimage.find_objects(truth[plane]), start=1)
                if region is not None
            )
            result = PlaneResult(plane, objects)
            yield PropagationProgress(done, len(truth), f"plane {plane}", (result,))
        return Propagation(len(truth), {}, {}, (), 0, 0)

    job.propagate_objects = answers


def _report(name: str, beats: Beats, act: Callable[[], object], given: argparse.Namespace) -> None:
    beats.since()
    started = time.monotonic()
    act()
    took = time.monotonic() - started
    end = time.monotonic() + 0.5
    _wait(lambda: time.monotonic() > end)
    pause = beats.since()
    each = 1000 * took / (given.objects * given.planes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{name}: {took:.1f} s, {each:.1f} ms an object and plane, longest pause of the window"
        f" {pause.clock / 1000:.2f} s, {pause.work / 1000:.2f} s of its own work, {peak:.2f} GB",
        flush=True,
    )


def _wait(until: Callable[[], bool]) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + PATIENCE_S
    while not until():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        QApplication.processEvents()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
