"""The time that a job will still take."""

import pytest

from napari_sam import _pace
from napari_sam._pace import Pace, span
from napari_sam.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    times = [100.0]
    monkeypatch.setattr(_pace.time, "monotonic", lambda: times[0])
    return times


def test_the_rest_is_as_fast_as_what_was_seen(clock):
    pace = Pace()
    pace.note(Progress(40, 100))  # done on another day
    assert pace.left is None
    clock[0] += 10
    pace.note(Progress(60, 100))
    assert pace.left == 20
    pace.note(Progress(0, 0))
    assert pace.left is None


def test_what_takes_longer_than_was_said_has_no_time_left(clock):
    pace = Pace()
    pace.note(Progress(0, 180))
    clock[0] += 190
    pace.note(Progress(190, 180))
    assert pace.left == 0


def test_another_part_and_another_job_have_their_own_pace(clock):
    pace = Pace()
    pace.note(Progress(0, 10))
    clock[0] += 10
    pace.note(Progress(5, 10))
    assert pace.left == 10
    pace.note(Progress(0, 400))
    assert pace.left is None
    clock[0] += 2
    pace.note(Progress(200, 400))
    assert pace.left == 2
    pace.begin()
    assert pace.left is None


def test_times_for_people():
    assert [span(s) for s in (3.4, 89, 600, 7200)] == ["3 s", "89 s", "10 min", "2.0 h"]
