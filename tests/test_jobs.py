"""Jobs in threads: the newest wins, cancelling is no error, errors are values."""

import sys
import threading
import time
import types

import pytest

from napari_sam._jobs import UNDER_WAY, LatestJob, consume, leave_a_core, sentence
from napari_sam.errors import ImageError
from napari_sam.progress import Progress


class Steps:
    """A job that goes on when told, and remembers what became of it."""

    def __init__(self, result=None, error=None, steps=1):
        self.go, self.started, self.closed = threading.Event(), threading.Event(), False
        self.result, self.error, self.steps = result, error, steps
        self.thread = None

    def __call__(self):
        self.thread = threading.current_thread()
        try:
            yield Progress(0, 2, "started")
            self.started.set()
            assert self.go.wait(10)
            for step in range(self.steps):
                yield Progress(step, self.steps, "going on")
            if self.error is not None:
                raise self.error
            return self.result
        finally:
            self.closed = True


class Heard:
    """What a LatestJob said."""

    def __init__(self, job):
        self.returned, self.failed, self.cancelled, self.busy, self.progress = [], [], [], [], []
        job.returned.connect(self.returned.append)
        job.failed.connect(lambda error, text: self.failed.append((error, text)))
        job.cancelled.connect(lambda: self.cancelled.append(True))
        job.busy.connect(self.busy.append)
        job.progressed.connect(self.progress.append)


@pytest.fixture
def job(qtbot):
    made = LatestJob()
    yield made
    qtbot.waitUntil(lambda: not made.running, timeout=15000)


def done(qtbot, job):
    qtbot.waitUntil(lambda: not job.running, timeout=15000)


def test_a_job_runs_in_another_thread_and_returns(qtbot, job):
    heard, steps = Heard(job), Steps("value")
    job.submit(steps)
    steps.go.set()
    done(qtbot, job)
    assert heard.returned == ["value"]
    assert steps.thread is not threading.main_thread()
    assert heard.busy == [True, False]
    assert heard.progress[0] == Progress(0, 2, "started")
    assert not heard.failed


def test_the_newest_wins_and_nothing_queues_up(qtbot, job):
    heard, first = Heard(job), Steps(1)
    others = [Steps(n) for n in (2, 3, 4)]
    job.submit(first)
    for other in others:
        other.go.set()
        job.submit(other)
    first.go.set()
    done(qtbot, job)
    assert heard.returned == [1, 4]
    assert others[0].thread is None
    assert others[1].thread is None


def test_cancel_closes_the_generator_and_is_no_error(qtbot, job):
    heard, steps, waiting = Heard(job), Steps(1, steps=100), Steps(2)
    job.submit(steps)
    job.submit(waiting)
    qtbot.waitUntil(steps.started.is_set, timeout=15000)
    job.cancel()
    steps.go.set()
    done(qtbot, job)
    assert steps.closed
    assert heard.cancelled == [True]
    assert heard.returned == heard.failed == []
    assert waiting.thread is None


def test_after_cancel_the_next_one_runs(qtbot, job):
    heard, steps, following = Heard(job), Steps(1), Steps(2)
    job.submit(steps)
    job.cancel()
    following.go.set()
    job.submit(following)
    steps.go.set()
    done(qtbot, job)
    assert heard.returned == [2]


@pytest.mark.parametrize("error", [ImageError("no such plane."), RuntimeError("CUDA"), OSError(5)])
def test_errors_arrive_as_sentences(qtbot, job, error, caplog):
    heard, steps = Heard(job), Steps(error=error)
    steps.go.set()
    job.submit(steps)
    done(qtbot, job)
    ((got, text),) = heard.failed
    assert got is error
    assert text == sentence(error)
    assert str(error) in text
    assert caplog.records[-1].exc_info[1] is error


def test_a_closed_job_reports_nothing_and_starts_nothing(qtbot, job):
    heard, steps, later = Heard(job), Steps(1), Steps(2)
    job.submit(steps)
    job.close()
    steps.go.set()
    job.submit(later)
    done(qtbot, job)
    assert heard.returned == heard.cancelled == []
    assert later.thread is None


def test_a_listener_may_submit_the_next(qtbot, job):
    heard, first, second = Heard(job), Steps(1), Steps(2)
    second.go.set()
    job.returned.connect(lambda value: job.submit(second) if value == 1 else None)
    first.go.set()
    job.submit(first)
    qtbot.waitUntil(lambda: heard.returned == [1, 2], timeout=15000)
    done(qtbot, job)
    assert heard.busy[-1] is False


def test_a_job_that_is_faster_than_the_window_waits_for_it(qtbot, job):
    made, ahead, heard = [], [], []

    def fast():
        for step in range(20):
            made.append(step)
            yield Progress(step, 20)

    def hear(progress):
        heard.append(progress.done)
        time.sleep(0.01)  # the window draws
        ahead.append(len(made) - len(heard))

    job.progressed.connect(hear)
    job.submit(fast)
    done(qtbot, job)
    assert heard == list(range(20))
    assert max(ahead) <= UNDER_WAY + 1


def test_consume_stops_between_steps():
    stop, reports = threading.Event(), []

    def job():
        yield Progress(0, 2)
        stop.set()
        yield Progress(1, 2)
        raise AssertionError("went on after stop")

    outcome = consume(job, reports.append, stop)
    assert outcome.cancelled
    assert len(reports) == 2


def test_one_core_is_left_to_the_window(monkeypatch):
    import torch

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    before = torch.get_num_threads()
    leave_a_core()
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_a_torch_that_is_just_being_imported_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))  # as another thread has it
    leave_a_core()
