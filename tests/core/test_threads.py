"""Threads: how they wait is set before torch comes; where it is too late, a core is spared."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from napari_sam.core.threads import spare_a_core


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
