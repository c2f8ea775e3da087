"""Runtime: device and precision are what was asked for, or an error says why not."""

import threading

import pytest
import torch

from napari_sam.core import engines, runtime
from napari_sam.core.runtime import Runtime, choose_runtime, memory_errors
from napari_sam.errors import ModelError, OutOfMemoryError


def test_cpu_exact_is_float32() -> None:
    chosen = choose_runtime("cpu", "exact")
    assert chosen == Runtime(torch.device("cpu"), "exact")
    assert chosen.describe() == "cpu, exact (float32), PyTorch"
    with chosen.active():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == torch.float32
        assert torch.is_inference(product)


def test_auto_is_a_device_that_exists() -> None:
    device = choose_runtime("auto").device
    assert torch.empty(1, device=device).device.type == device.type


def test_fast_computes_in_bfloat16_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_has_bfloat16", lambda device: True)
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: True)
    chosen = choose_runtime("cpu", "fast")
    assert "bfloat16" in chosen.describe()
    with chosen.active():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_fast_is_refused_where_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_has_bfloat16", lambda device: False)
    with pytest.raises(ModelError, match="needs bfloat16"):
        choose_runtime("cpu", "fast")


@pytest.mark.parametrize(("known", "expected"), [(True, True), (None, True), (False, False)])
def test_bfloat16_that_is_only_emulated_does_not_count(
    monkeypatch: pytest.MonkeyPatch, known: bool | None, expected: bool
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: known)
    assert runtime._has_bfloat16(torch.device("cpu")) is expected
    assert not runtime._has_bfloat16(torch.device("mps"))


def test_exact_stays_exact_within_the_callers_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16), choose_runtime("cpu").active():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_only_one_thread_computes_alone() -> None:
    chosen = choose_runtime("cpu")
    inside, most = [], []

    def work() -> None:
        with chosen.active(alone=True):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    with chosen.active(alone=True):
        for thread in threads:
            thread.start()
        with chosen.active():
            pass  # what is short does not wait
        assert not most
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_an_error_lets_the_next_one_compute() -> None:
    chosen = choose_runtime("cpu")
    for _ in range(2):
        with pytest.raises(OutOfMemoryError), chosen.active(alone=True):
            raise MemoryError


class Moved:
    """A tensor that notes how it travels."""

    def __init__(self) -> None:
        self.steps: list[object] = []

    def pin_memory(self) -> "Moved":
        self.steps.append("pinned")
        return self

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Moved":
        self.steps.append((device.type, non_blocking))
        return self


@pytest.mark.parametrize(
    ("device", "steps"),
    [("cuda", ["pinned", ("cuda", True)]), ("mps", [("mps", False)]), ("cpu", [("cpu", False)])],
)
def test_pictures_travel_to_a_cuda_gpu_from_pinned_memory(device: str, steps: list[object]) -> None:
    moved = Moved()
    runtime.to_device(moved, torch.device(device))  # type: ignore[arg-type]
    assert moved.steps == steps


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
        RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:223: std::bad_alloc"),
        Exception("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
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
