"""What the machine says of itself."""

import sys

import numpy as np
import pytest

from benchmarks import machine
from benchmarks.machine import NeighbourMeter, PeakMemory, describe_machine

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_machine_is_named() -> None:
    found = describe_machine(threads=2)
    assert "2 threads" in found.kind
    assert found.packages["torch"] in found.describe()
    assert found.commit not in found.kind
    assert "micro-sam" not in found.packages or found.packages["micro-sam"]


@linux
def test_a_peak_is_seen_after_it_is_over() -> None:
    memory = PeakMemory()
    taken = np.ones(100_000_000, np.uint8)
    del taken
    rise = memory.rise_mb()
    if rise is None:
        pytest.skip("this container does not let a process reset its peak")
    assert 95 < rise < 150


@linux
@pytest.mark.parametrize(("expected", "others"), [(0, 1.25), (1, 0.25), (2, 0.0)])
def test_the_cores_of_others_are_all_less_ours(
    monkeypatch: pytest.MonkeyPatch, expected: float, others: float
):
    marks = iter([(100.0, 50.0, 7.0), (104.0, 58.0, 10.0)])  # wall, everybody's CPU, ours
    meter = NeighbourMeter(expected)
    monkeypatch.setattr(meter, "start", lambda: next(marks))
    assert meter.others(meter.start()) == others


def test_nothing_is_said_of_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = iter([(100.0, 50.0, 7.0), (100.3, 50.3, 7.0)])
    meter = NeighbourMeter()
    monkeypatch.setattr(meter, "start", lambda: next(marks))
    assert meter.others(meter.start()) is None


def test_without_counters_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_busy_seconds", lambda: None)
    meter = NeighbourMeter()
    assert meter.others(meter.start()) is None
