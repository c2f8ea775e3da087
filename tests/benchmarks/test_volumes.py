"""The parts of the benchmarks of volumes that compute without measuring."""

import pytest

from benchmarks.memory import CASES, to_svg
from benchmarks.scaling import simulate


def test_many_workers_are_quicker_until_the_scheduler_is_the_limit() -> None:
    alone, busy = simulate(2000, 1, 10.0, 0.001)
    assert alone == pytest.approx(2000 * 10 / 3600, rel=0.05)
    assert busy > 0.95
    many, _ = simulate(2000, 20, 10.0, 0.001)
    assert many == pytest.approx(alone / 20, rel=0.1)
    limited, idle = simulate(2000, 20, 10.0, 5.0)
    assert limited == pytest.approx(2000 * 5 / 3600, rel=0.05)
    assert idle < 0.2


def test_curves_of_all_sizes_are_drawn() -> None:
    curve = [(0.0, 100.0), (0.5, 150.0), (1.0, 140.0)]
    drawn = to_svg({name: [curve] * 3 for name in CASES})
    assert drawn.count("<polyline") == 6
    assert "deeper: MB" in drawn and "16 x the size" in drawn
