import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.volume.killing import left_behind, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
MOST_WRITES = 200


def finish(folder: Path) -> None:
    process = start(folder)
    process.join(120)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    finish(folder)
    files = left_behind(folder)
    assert any(name.startswith("labels.zarr/labels/cells/0/c/") for name in files)
    return files


def kill_after(folder: Path, writes: int) -> bool:
    process = start(folder, writes)
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def check_each(folder: Path, expected: dict[str, bytes], numbers: range) -> int:
    killed = 0
    for writes in numbers:
        place = folder / str(writes)
        if not kill_after(place, writes):
            break
        killed += 1
        assert left_behind(place) != expected
        finish(place)
        assert left_behind(place) == expected
    return killed


def test_killed_between_some_writes(tmp_path: Path, expected: dict[str, bytes]) -> None:
    assert check_each(tmp_path, expected, range(1, MOST_WRITES, 7)) >= 5


@pytest.mark.kill
@pytest.mark.timeout(1800)
def test_killed_between_any_two_writes(tmp_path: Path, expected: dict[str, bytes]) -> None:
    assert check_each(tmp_path, expected, range(MOST_WRITES)) >= 30


def random_kills(folder: Path, expected: dict[str, bytes], kills: int) -> None:
    rng = random.Random(0)
    round_ = killed = 0
    while killed < kills:
        place = folder / str(round_)
        process = start(place)
        time.sleep(rng.uniform(0.1, 1.5))
        process.kill()
        process.join(120)
        killed += process.exitcode != 0
        if process.exitcode == 0:
            assert left_behind(place) == expected
            round_ += 1
    finish(place)
    assert left_behind(place) == expected


def test_killed_at_a_few_random_moments(tmp_path: Path, expected: dict[str, bytes]) -> None:
    random_kills(tmp_path, expected, 4)


@pytest.mark.kill
@pytest.mark.timeout(1800)
def test_killed_at_a_hundred_random_moments(tmp_path: Path, expected: dict[str, bytes]) -> None:
    random_kills(tmp_path, expected, 100)


def test_two_processes_on_one_store(tmp_path: Path, expected: dict[str, bytes]) -> None:
    both = [start(tmp_path), start(tmp_path)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert left_behind(tmp_path) == expected
