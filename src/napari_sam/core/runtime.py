"""How a model runs: device, precision and threads. Import this before torch.

Knows nothing of models or images. Importing it sets the waiting policy of OpenMP, which torch
reads once: with spinning threads one busy neighbour process makes a click many times slower.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from napari_sam.errors import ModelError, OutOfMemoryError

Precision = Literal["exact", "fast"]
OUT_OF_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Runtime:
    """Where and how exactly a model computes.

    Attributes
    ----------
    device
        Where weights and embeddings live.
    precision
        ``"exact"``: float32 throughout. ``"fast"``: bfloat16 matrix products.
    """

    device: torch.device
    precision: Precision

    def describe(self) -> str:
        """One line for people, such as ``cpu, exact (float32)``."""
        number = "float32" if self.precision == "exact" else "bfloat16"
        return f"{self.device}, {self.precision} ({number})"

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute without gradients, in this precision; out of memory becomes our own error."""
        fast = self.precision == "fast"
        with (
            memory_errors(),
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=fast),
        ):
            yield


def choose_runtime(device: str = "auto", precision: Precision = "exact") -> Runtime:
    """Resolve a device name and a precision.

    Parameters
    ----------
    device
        ``"auto"`` (a GPU where there is one, else the CPU) or a torch device such as ``"cpu"``,
        ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    precision
        See :class:`Runtime`.

    Raises
    ------
    ModelError
        If the device is unknown or absent, or if it has no fast bfloat16: nothing silently falls
        back to something else.
    """
    if precision not in ("exact", "fast"):
        raise ModelError(f"precision is {precision!r}; it must be 'exact' or 'fast'.")
    chosen = _best_device() if device == "auto" else device
    try:
        resolved = torch.device(chosen)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {device!r} cannot be used here ({reason}). Use 'cpu'.") from error
    if precision == "fast" and not _has_bfloat16(resolved):
        raise ModelError(
            f"precision 'fast' needs bfloat16 arithmetic, which {chosen!r} lacks. Use 'exact'."
        )
    return Runtime(resolved, precision)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn a device's out-of-memory errors into :class:`OutOfMemoryError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
            reason = str(error).splitlines()[0] if text else type(error).__name__
            raise OutOfMemoryError(
                "there was not enough memory. Use a smaller model or a smaller part of the image,"
                f" or close other programs. ({reason})"
            ) from error
        raise
