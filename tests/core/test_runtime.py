"""Runtime: device and precision are what was asked for, or an error says why not."""

import os
import subprocess
import sys

import pytest
import torch

from napari_sam.core import runtime
from napari_sam.core.runtime import Runtime, choose_runtime, memory_errors
from napari_sam.errors import ModelError, OutOfMemoryError


def test_cpu_exact_is_float32() -> None:
    chosen = choose_runtime("cpu", "exact")
    assert chosen == Runtime(torch.device("cpu"), "exact")
    assert chosen.describe() == "cpu, exact (float32)"
    with chosen.active():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == torch.float32
        assert torch.is_inference(product)


def test_auto_is_a_device_that_exists() -> None:
    device = choose_runtime("auto").device
    assert torch.empty(1, device=device).device.type == device.type


def test_fast_computes_in_bfloat16_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_has_bfloat16", lambda device: True)
    chosen = choose_runtime("cpu", "fast")
    assert "bfloat16" in chosen.describe()
    with chosen.active():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_fast_is_refused_where_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_has_bfloat16", lambda device: False)
    with pytest.raises(ModelError, match="needs bfloat16"):
        choose_runtime("cpu", "fast")


@pytest.mark.parametrize("device", ["warp", "cuda:77", ""])
def test_devices_that_are_not_here_are_refused(device: str) -> None:
    with pytest.raises(ModelError, match="cannot be used here"):
        choose_runtime(device)


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ModelError, match="must be 'exact' or 'fast'"):
        choose_runtime("cpu", "int3")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_out_of_memory_becomes_our_own_error(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="smaller model") as caught, memory_errors():
        raise error
    assert isinstance(caught.value, MemoryError)
    assert not isinstance(caught.value, RuntimeError)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("shape mismatch")


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(OutOfMemoryError), choose_runtime("cpu").active():
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_waiting_policy_is_set_before_torch_unless_the_user_did(
    given: str | None, expected: str
) -> None:
    code = (
        "import os, sys, napari_sam.core.predictor;"
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [expected, "True"]
