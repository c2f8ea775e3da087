"""What the machine can compute, as far as a menu must know. Imports nothing heavy.

``core/runtime.py`` has the last word, with torch; this module lets a window and a command line
know beforehand.
"""

import platform
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

__all__ = ["cpu_flags", "cpu_has_bfloat16", "has_apple_gpu", "may_have_nvidia_gpu"]

_LINUX_CPU = Path("/proc/cpuinfo")
# x86: AVX-512 with bf16 or AMX; ARM: the bf16 extension. AVX-512 alone only emulates it, slowly.
_SIGNS = {"avx512_bf16", "amx_bf16", "bf16"}


@lru_cache
def cpu_flags() -> frozenset[str]:
    """What the CPU says that it can do, in the words of Linux; empty on other systems."""
    if sys.platform != "linux" or not _LINUX_CPU.is_file():
        return frozenset()
    return frozenset(_LINUX_CPU.read_text(encoding="ascii", errors="replace").split())


@lru_cache
def cpu_has_bfloat16() -> bool | None:
    """Whether the CPU multiplies bfloat16 matrices by itself; None where that cannot be known."""
    if flags := cpu_flags():
        return bool(_SIGNS & flags)
    if sys.platform == "darwin":
        return platform.machine() == "arm64" and _sysctl("hw.optional.arm.FEAT_BF16") == "1"
    return None


@lru_cache
def may_have_nvidia_gpu() -> bool:
    """Whether a GPU that computes bfloat16 may be there: an NVIDIA driver is installed."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def has_apple_gpu() -> bool:
    """Whether PyTorch's device ``"mps"`` is to be expected."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _sysctl(name: str) -> str:
    try:
        answer = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
