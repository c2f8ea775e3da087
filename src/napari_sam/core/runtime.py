"""How a model runs: device, precision and engine. Knows nothing of models or images."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_sam.core.engines import TITLES, Engine, Precision, require_engine, why_not
from napari_sam.core.hardware import cpu_has_bfloat16
from napari_sam.core.threads import spare_a_core
from napari_sam.errors import ModelError, OutOfMemoryError

__all__ = [
    "Precision",
    "Runtime",
    "choose_runtime",
    "memory_errors",
    "runs_on_cpu",
    "to_device",
]

OUT_OF_MEMORY_SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
)
_ENCODING = threading.Lock()


@dataclass(frozen=True)
class Runtime:
    """Where, how exactly and by what a model computes.

    Attributes
    ----------
    device
        Where weights and embeddings live.
    precision
        ``"exact"``: float32 throughout. ``"fast"``: bfloat16 matrix products.
    engine
        What computes the image embedding; prompts are always decoded by PyTorch.
    compiled
        Whether attention in it is that of our compiled library (``core/native``).
    """

    device: torch.device
    precision: Precision
    engine: Engine = "torch"
    compiled: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the matrix products."""
        return torch.bfloat16 if self.precision == "fast" else torch.float32

    def describe(self) -> str:
        """One line for people, such as ``cpu, exact (float32), PyTorch``."""
        number = str(self.dtype).removeprefix("torch.")
        compiled = " with compiled attention" if self.compiled else ""
        return f"{self.device}, {self.precision} ({number}), {TITLES[self.engine]}{compiled}"

    @contextmanager
    def active(self, *, alone: bool = False) -> Iterator[None]:
        """Compute without gradients, in this precision; out of memory becomes our own error.

        Parameters
        ----------
        alone
            Wait until no other thread computes alone: for what takes all cores for seconds.
        """
        with (
            _ENCODING if alone else nullcontext(),
            memory_errors(),
            torch.inference_mode(),
            self._autocast(),
        ):
            yield

    def _autocast(self) -> AbstractContextManager[None]:
        # Off is off whatever the caller has on; which format it would have had does not matter.
        if self.precision == "exact":
            return torch.autocast(self.device.type, enabled=False)
        return torch.autocast(self.device.type, torch.bfloat16)


def choose_runtime(
    device: str = "auto", precision: Precision = "exact", *, engine: Engine = "torch"
) -> Runtime:
    """Resolve a device name, a precision and an engine.

    Parameters
    ----------
    device
        ``"auto"`` (a GPU where there is one and the engine can use it, else the CPU) or a torch
        device such as ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    precision, engine
        See :class:`Runtime`.

    Raises
    ------
    ModelError
        If the device is unknown or absent, has no fast bfloat16, or is nothing for the engine:
        nothing silently falls back to something else.
    MissingExtraError
        If the engine is not installed.
    """
    require_engine(engine)
    resolved = _resolve(device, engine)
    reason = why_not(engine, precision, device=resolved.type)
    if reason is not None:
        raise ModelError(reason)
    if precision == "fast" and not _has_bfloat16(resolved):
        raise ModelError(
            f"precision 'fast' needs bfloat16 arithmetic, which {str(resolved)!r} lacks."
            " Use 'exact'."
        )
    return Runtime(resolved, precision, engine)


def runs_on_cpu(device: str) -> bool:
    """Whether PyTorch would use the CPU for a device name, ``"auto"`` included."""
    return (_best_device() if device == "auto" else device).partition(":")[0] == "cpu"


def _resolve(device: str, engine: Engine) -> torch.device:
    if engine != "torch":
        if device not in ("auto", "cpu"):
            raise ModelError(
                f"{TITLES[engine]} computes on the CPU here, not on {device!r}."
                " Use device 'cpu', or the backend 'torch'."
            )
        return torch.device("cpu")
    chosen = _best_device() if device == "auto" else device
    try:
        resolved = torch.device(chosen)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {device!r} cannot be used here ({reason}). Use 'cpu'.") from error
    return resolved


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # torch also says yes where AVX-512 only emulates it, which is slower than float32.
        torch_can = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return torch_can and cpu_has_bfloat16() is not False
    return False


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a CPU tensor to a device; to a CUDA GPU from pinned memory, without waiting for it."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the out-of-memory errors of devices and engines into :class:`OutOfMemoryError`.

    They share no type: torch raises RuntimeError, ONNX Runtime classes of its own.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
            reason = str(error).splitlines()[0] if text else type(error).__name__
            raise OutOfMemoryError(
                "there was not enough memory. Use a smaller model or a smaller part of the image,"
                f" or close other programs. ({reason})"
            ) from error
        raise


spare_a_core()
