"""Engines: what computes the image embedding. PyTorch is always there, the others are extras.

Knows their names, which are installed, what each can do, and which one ``"auto"`` takes. Imports
neither torch nor any engine, so that a menu can ask.
"""

from importlib.util import find_spec
from typing import Literal

from napari_sam.core.architecture import MicroConfig, SamConfig, ViTConfig
from napari_sam.core.hardware import cpu_has_bfloat16, has_apple_gpu, may_have_nvidia_gpu
from napari_sam.errors import MissingExtraError, ModelError

__all__ = [
    "ENGINES",
    "TITLES",
    "Backend",
    "Engine",
    "Precision",
    "best_engine",
    "check_choice",
    "installed_engines",
    "require_engine",
    "why_not",
]

Precision = Literal["exact", "fast"]
Engine = Literal["torch", "openvino", "onnxruntime"]
Backend = Literal["auto", "torch", "openvino", "onnxruntime"]

ENGINES: tuple[Engine, ...] = ("torch", "openvino", "onnxruntime")
TITLES = {
    "auto": "Automatic",
    "torch": "PyTorch",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
}
_PACKAGES: dict[Engine, tuple[str, ...]] = {
    "torch": ("torch",),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx"),
}
# Time of our PyTorch encoder, attention compiled, over OpenVINO's: measured in one process on a CPU
# with AVX-512 and bfloat16 (make bench). docs/adr/0004 has the reason for the margin.
_OPENVINO_GAIN = {
    ("vit", "exact"): 0.98,
    ("vit", "fast"): 0.92,
}
_WORTH_IT = 1.1


def installed_engines() -> tuple[Engine, ...]:
    """The engines that can be used here. Looks for the packages without importing them."""
    return tuple(engine for engine in ENGINES if not _missing(engine))


def require_engine(engine: Engine) -> None:
    """Refuse an engine that is not installed.

    Raises
    ------
    MissingExtraError
        With the pip line.
    """
    if _missing(engine):
        raise MissingExtraError(
            f"{TITLES[engine]} is not installed. Run: pip install {' '.join(_PACKAGES[engine])}"
        )


def why_not(engine: Backend, precision: str, *, device: str = "auto") -> str | None:
    """Why an engine cannot compute in a precision on a device of this machine, or None.

    A sentence for people. What only a device can tell is left to
    :func:`~napari_sam.core.runtime.choose_runtime`.
    """
    if precision == "smallest":
        return (
            "precision 'smallest' (8-bit weights) is not offered: it measured no faster than"
            " 'fast' and is less exact. Use 'fast' or 'exact'."
        )
    if precision == "exact":
        return None
    if precision != "fast":
        return f"precision is {precision!r}; it must be 'exact' or 'fast'."
    if engine == "onnxruntime":
        return (
            "ONNX Runtime has no bfloat16 on CPUs, which precision 'fast' needs. Use precision"
            " 'exact', or the backend 'torch' or 'openvino'."
        )
    if engine != "openvino" and (device == "mps" or (device == "auto" and has_apple_gpu())):
        return (
            "precision 'fast' is not offered on Apple's GPUs: nobody has checked its masks there."
            " Use 'exact', or device 'cpu'."
        )
    if cpu_has_bfloat16() is False and (engine == "openvino" or not may_have_nvidia_gpu()):
        return (
            "precision 'fast' needs bfloat16 arithmetic, which this CPU lacks (AVX-512 BF16, AMX"
            " or ARM BF16). Use 'exact'."
        )
    return None


def best_engine(
    architecture: SamConfig | MicroConfig, precision: Precision, *, on_cpu: bool
) -> Engine:
    """The engine that ``"auto"`` stands for: PyTorch, unless OpenVINO is there and well faster.

    Parameters
    ----------
    architecture
        Of the model.
    precision
        Of the computation.
    on_cpu
        Whether it runs on the CPU; a GPU has PyTorch only.
    """
    if not on_cpu or _missing("openvino"):
        return "torch"
    gain = _OPENVINO_GAIN.get((_kind(architecture), precision), 1.0)
    return "openvino" if gain >= _WORTH_IT else "torch"


def check_choice(backend: str, precision: str, *, device: str = "auto") -> None:
    """Refuse what cannot work here, before anything is loaded or downloaded.

    Raises
    ------
    ModelError
        There is no such backend, or it cannot compute in this precision.
    MissingExtraError
        It is not installed.
    """
    if backend not in TITLES:
        raise ModelError(f"backend is {backend!r}; it must be one of {', '.join(TITLES)}.")
    reason = why_not(backend, precision, device=device)  # type: ignore[arg-type]
    if reason is not None:
        raise ModelError(reason)
    if backend != "auto":
        require_engine(backend)  # type: ignore[arg-type]


def _missing(engine: Engine) -> bool:
    return any(find_spec(package) is None for package in _PACKAGES[engine])


def _kind(architecture: SamConfig | MicroConfig) -> str:
    if isinstance(architecture, MicroConfig):
        return "micro"
    return "vit" if isinstance(architecture.encoder, ViTConfig) else "tiny_vit"
