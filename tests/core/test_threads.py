"""Threads: how they wait is set before torch comes; where it is too late, a core is spared."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch

from napari_sam.core.threads import (
    in_one_thread,
    share_out,
    side_by_side,
    slices,
    spare_a_core,
    with_helpers,
)


def in_a_new_process(code: str, **variables: str) -> str:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


@pytest.mark.parametrize("given", [None, "active"])
def test_the_policy_is_set_before_torch_unless_the_user_did(given: str | None) -> None:
    code = (
        "import os, sys; sys.addaudithook(lambda event, args: event == 'import' and"
        " args[0] == 'torch' and print(os.environ.get('OMP_WAIT_POLICY')));"
        "import napari_sam.core.frame"
    )
    variables = {"OMP_WAIT_POLICY": given} if given else {}
    assert in_a_new_process(code, **variables).split()[0] == (given or "passive")


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    yield
    torch.set_num_threads(before)


def test_with_spinning_threads_a_core_is_spared_and_said(
    two_threads: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        spare_a_core(too_late=True)
    assert torch.get_num_threads() == 1
    assert "using 1 of 2 threads" in caplog.text
    assert "OMP_WAIT_POLICY=passive" in caplog.text
    spare_a_core(too_late=True)
    assert torch.get_num_threads() == 1


def test_nothing_is_taken_where_threads_sleep_or_are_few(
    two_threads: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spare_a_core(too_late=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    spare_a_core(too_late=True)
    assert torch.get_num_threads() == 2
    assert not caplog.text


def test_torch_imported_first_is_noticed() -> None:
    code = (
        "import os; os.cpu_count = lambda: 2; import torch; torch.set_num_threads(2);"
        "import napari_sam.core.runtime; print(torch.get_num_threads())"
    )
    assert in_a_new_process(code) == "1"


# Pieces of a job on workers of one thread each


def test_pieces_run_side_by_side_on_one_thread_each() -> None:
    threads = torch.get_num_threads()
    together = threading.Barrier(2)
    seen: list[tuple[int, bool]] = []

    def job() -> None:
        together.wait(20)  # breaks unless two of them run at the same time
        seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled()))

    with torch.inference_mode():
        side_by_side([job] * 4, count=2)
    assert seen == [(1, True)] * 4
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "first", ["side_by_side([piece] * 4)", "share_out([piece] * 4)"], ids=["side", "click"]
)
def test_a_workers_number_is_not_what_other_threads_begin_with(first: str) -> None:
    code = f"""if True:
        import threading, torch
        from napari_sam.core.threads import share_out, side_by_side
        torch.set_num_threads(2)
        piece = lambda: None
        {first}
        print(torch.get_num_threads())
        thread = threading.Thread(target=lambda: print(torch.get_num_threads()))
        thread.start()
        thread.join()
    """
    assert in_a_new_process(code).split() == ["2", "2"]


@pytest.mark.parametrize("outer", [in_one_thread, lambda job: side_by_side([job] * 4, count=2)])
@pytest.mark.parametrize(
    "inner", [share_out, lambda jobs: side_by_side(jobs, count=2)], ids=["click", "side"]
)
def test_pieces_within_a_piece_run_there(
    outer: Callable[[Callable[[], None]], None],
    inner: Callable[[list[Callable[[], None]]], None],
) -> None:
    seen: list[bool] = []

    def job() -> None:
        me = threading.current_thread()
        inner([lambda: seen.append(threading.current_thread() is me)] * 2)

    outside = threading.Thread(target=outer, args=(job,), daemon=True)  # a deadlock is a failure
    outside.start()
    outside.join(20)
    assert len(seen) in (2, 8)
    assert all(seen)


def test_the_first_error_of_the_pieces_is_raised_when_all_have_ended() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        side_by_side([fail, lambda: done.append(1), lambda: done.append(2)], count=2)
    assert sorted(done) == [1, 2]


def test_a_job_in_one_thread_works_with_its_helpers() -> None:
    together = threading.Barrier(2)
    seen: list[tuple[int, str]] = []

    def piece() -> None:
        together.wait(20)  # breaks unless caller and helper work at the same time
        seen.append((torch.get_num_threads(), threading.current_thread().name))

    in_one_thread(lambda: with_helpers([piece] * 4, count=2))
    assert [number for number, _ in seen] == [1] * 4
    assert {name.split("_")[0] for _, name in seen} == {"napari-sam-one", "napari-sam-help"}


def test_a_busy_helper_is_not_waited_for() -> None:
    released, done = threading.Event(), list[int]()
    started = threading.Barrier(3)

    def hold() -> None:
        started.wait(20)
        released.wait(20)

    other = threading.Thread(target=lambda: with_helpers([hold, hold], count=2))
    other.start()
    started.wait(20)  # caller and helper of the other job are taken
    with_helpers([lambda: done.append(1)] * 3, count=2)
    assert done == [1] * 3
    assert other.is_alive()
    released.set()
    other.join(20)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_piece_comes_out(count: int) -> None:
    def fail() -> None:
        raise ValueError("piece")

    with pytest.raises(ValueError, match="piece"):
        with_helpers([fail] * 3, count=count)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_pieces_of_a_click_are_all_done(
    count: int, threads: int, request: pytest.FixtureRequest
) -> None:
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    torch.set_num_threads(threads)
    done: list[int] = []
    share_out([lambda i=i: done.append(i) for i in range(count)])
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (3, 5), (4, 5), (21, 5), (20, 1000)])
def test_slices_cover_everything_once(count: int, most: int) -> None:
    parts = slices(count, most)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(count))
    assert all(part.stop - part.start <= most for part in parts)
    assert len(parts) >= min(count, 3)
