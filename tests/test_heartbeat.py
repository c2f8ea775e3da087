"""The window's thread is not held up by us while we encode, decode, segment, keep, undo and save.

A 5 ms timer beats in the real window. What would hold it up would do so in each of five runs; a run
tells nothing against us where the window stands still with nothing to do, too, or where many others
want the cores.
"""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from napari_sam._predict import Origin
from tests.untrained import untrained_model

pytestmark = [pytest.mark.viewer]

LONGEST_MS = 50
CALM_MS = 20
QUIET_LOAD = (os.cpu_count() or 1) + 1  # we ourselves are two
RUNS = 5


@dataclass(frozen=True)
class Pause:
    """Longest of a run, in ms: the window's, and what its thread has computed in one."""

    stood: float
    worked: float


class Heartbeat:
    """Pauses of the window's thread, by a 5 ms timer.

    Where Linux tells, a pause is less the time for which this thread, or one that may hold the
    interpreter, was ready to run but other processes had the cores.
    """

    def __init__(self):
        self._stood, self._worked = [], []
        self._last = self._now()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.start(5)

    @staticmethod
    def _now():
        return time.perf_counter(), time.thread_time(), waited_for_a_core()

    def _beat(self):
        now = self._now()
        clock, work = (1000 * (now[i] - self._last[i]) for i in (0, 1))
        main = threading.main_thread().native_id
        queued = {tid: ms - self._last[2].get(tid, ms) for tid, ms in now[2].items()}
        others = max((ms for tid, ms in queued.items() if tid != main), default=0.0)
        self._stood.append(clock - queued.get(main, 0.0) - others)
        self._worked.append(work)
        self._last = now

    def stop(self):
        """The longest."""
        self._timer.stop()
        self._beat()
        return Pause(max(self._stood), max(self._worked))


def waited_for_a_core():
    """Milliseconds that each Python thread has been ready to run without a core."""
    waited = {}
    for thread in threading.enumerate():
        try:
            text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
        except OSError:  # another system, or the thread has just ended
            continue
        waited[thread.native_id] = int(text.split()[1]) / 1e6
    return waited


def load():
    """How many threads want a core, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def check_it_lives(qtbot, acts, between=lambda: None):
    """Do all this, several times where need be: (what it is, what to call, when it is done)."""
    runs = {name: [] for name, *_ in acts}
    for _ in range(RUNS):
        qtbot.wait(300)  # what the last run has left is drawn
        idle = Heartbeat()
        qtbot.wait(500)
        calm = idle.stop().stood < CALM_MS and load() <= QUIET_LOAD
        for name, act, done in acts:
            heart = Heartbeat()
            act()
            qtbot.waitUntil(done, timeout=60000)
            qtbot.wait(100)
            runs[name].append((calm, heart.stop()))
            print(name, runs[name][-1])
        between()
        if all(min(one.stood for _, one in found) < LONGEST_MS for found in runs.values()):
            return
    undecided = [name for name, found in runs.items() if not judge(name, found)]
    if undecided:
        pytest.skip(f"this machine is too busy to tell who blocks the window: {undecided}")


def judge(name, found):
    """Whether these runs tell that it is not us; fails where it is.

    On a busy machine only what the window's thread has computed tells.
    """
    calm = [one.stood for quiet, one in found if quiet]
    best = min(one.stood for _, one in found)
    if best >= LONGEST_MS and len(calm) >= 3:
        raise AssertionError(f"{name}: the window stood still for {min(calm):.0f} ms or more")
    worked = min(one.worked for _, one in found)
    if worked >= 2 * LONGEST_MS:  # other processes slow it down, but do not double it
        raise AssertionError(f"{name}: the window's thread computed for {worked:.0f} ms or more")
    return best < LONGEST_MS or worked < LONGEST_MS


@pytest.mark.parametrize(
    ("found", "fails"),
    [
        ([(True, Pause(80, 10))] * 3, True),  # a calm machine: it waits for something of ours
        ([(False, Pause(300, 150))] * 5, True),  # a busy one: it computes
        ([(False, Pause(300, 20))] * 5, False),
        ([(True, Pause(80, 60)), (True, Pause(40, 30))], False),  # a collection of garbage, say
    ],
)
def test_the_judge_tells_us_from_others(found, fails):
    if fails:
        with pytest.raises(AssertionError, match="the window"):
            judge("saving", found)
    else:
        assert judge("saving", found)


def untrained_predictor():
    from napari_sam.core.predictor import Predictor
    from napari_sam.core.registry import get_spec
    from napari_sam.core.runtime import choose_runtime

    return Predictor(untrained_model(), get_spec("tiny"), runtime=choose_runtime("cpu"))


def test_window_lives_while_the_model_encodes_and_decodes(open_window, qtbot):
    """The real network on 1024 x 1024 pixels."""
    image = np.random.default_rng(1).integers(0, 60000, (1024, 1024)).astype(np.uint16)
    window = open_window(image, untrained_predictor())
    session = window.session
    window.click(300, 300)
    window.wait_mask()

    def encode():
        window.dock._cache.clear()
        session.refresh()

    def masks_are_there():
        response = session.response
        return response is not None and response.generation == session.generation

    acts = [("encode", encode, masks_are_there), ("decode", session.refresh, masks_are_there)]
    check_it_lives(qtbot, acts)


class ManyDiscs:
    """32 x 32 discs on the plane in view, for the worker that keeps them."""

    def __init__(self, plane):
        self.plane = plane
        self.region = tuple(slice(0, side) for side in plane.size)
        self.scores = (0.9,) * 1024
        self.origin = Origin("fake", "", "percentile")

    def canvas(self):
        height, width = self.plane.size
        rows, columns = np.indices((height // 32, width // 32))
        disc = np.hypot(rows - height / 64, columns - width / 64) < width / 80
        numbers = np.arange(1, 1025).reshape(32, 32)
        return np.kron(numbers, disc).astype(np.uint32)

    def beneath(self, canvas):
        return {}


def test_window_lives_while_objects_are_found_kept_undone_and_saved(open_window, qtbot, tmp_path):
    """Everything on a plane, then 1,024 objects in one step, with a journal and the table."""
    window = open_window(np.zeros((1024, 1024), np.uint8))
    session, dock = window.session, window.dock
    dock.tabs.setCurrentWidget(dock.objects_panel)
    tool = dock.everything
    tool.change(points_per_side=4, pred_iou_thresh=0.2, stability_score_thresh=0.0)
    session.has_output()  # this layer, the next one and their controls are napari's business
    dock._binding.need("candidates")
    kept, saved = [], []
    dock.filing.saved.connect(saved.append)

    def keep():
        kept.clear()
        dock.bulk.keep(ManyDiscs(session.plane), kept.append, overwrite=False)

    def save():
        saved.clear()
        dock.filing.save(tmp_path / "labels.tif")

    def all_found():
        selection = tool.selection
        return (
            selection is not None
            and selection.request is tool._asked
            and tool.found.request.generation == tool._generation
            and not session.busy
        )

    def objects():
        return len(session.document.objects)

    acts = [
        ("everything", tool.run, all_found),
        ("keep", keep, lambda: bool(kept)),
        ("save", save, lambda: bool(saved)),
        ("undo", session.undo, lambda: objects() == 0),
        ("redo", session.redo, lambda: objects() == 1024),
    ]
    check_it_lives(qtbot, acts, between=session.undo)
    assert len(tool.selection.records) > 0
    assert len(kept[0]) == 1024
    assert dock.keeper.journal.lines > 4
