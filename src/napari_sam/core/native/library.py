"""The shared library of our C++ files: made by the machine's compiler when first wanted, then kept.

Only for Linux on x86-64 with AVX-512. The file lies in the user's cache folder under a name that
stands for sources, flags and compiler; machines of another kind that share the folder make their
own. ``NAPARI_SAM_NATIVE=off`` turns all of it off. Knows ctypes and the compiler's command line.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from platformdirs import user_cache_path
from torch import Tensor

from napari_sam.core.hardware import cpu_flags

__all__ = [
    "SWITCH",
    "address",
    "forget_library",
    "load_library",
    "make_in_background",
    "ready_library",
    "why_no_library",
]

logger = logging.getLogger(__name__)

SWITCH = "NAPARI_SAM_NATIVE"
_FOLDER = Path(__file__).parent
_SOURCES = sorted(_FOLDER.glob("*.cpp"))
_NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "fma")
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-fno-exceptions", "-fno-rtti", "-w")
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 120
_MAKING = "making-"


@lru_cache(maxsize=1)
def load_library() -> ctypes.CDLL | None:
    """The library, or None where there is none: the log says why (``why_no_library``)."""
    reason = why_no_library()
    if reason is None:
        try:
            return ctypes.CDLL(str(_made(_file())))
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"it could not be made ({error})"
    logger.info("Computing without our compiled attention: %s.", reason)
    return None


def ready_library() -> ctypes.CDLL | None:
    """The library if it has been made already: for what is not worth waiting for the compiler."""
    return load_library() if load_library.cache_info().currsize or _is_there() else None


@lru_cache(maxsize=1)
def make_in_background() -> threading.Thread | None:
    """Have the library made, once, where it can be and is not there: for a program that runs on.

    Nobody waits for it. From when it is made :func:`ready_library` gives it.
    """
    if ready_library() is not None or why_no_library() is not None:
        return None
    thread = threading.Thread(target=load_library, name="napari-sam-compiler", daemon=True)
    thread.start()
    return thread


@lru_cache(maxsize=1)
def _is_there() -> bool:
    try:
        return why_no_library() is None and _file().is_file()
    except OSError:  # a folder that cannot even be looked at
        return False


def forget_library() -> None:
    """Look again at machine and cache the next time; for tests."""
    for remembered in (load_library, make_in_background, _is_there):
        remembered.cache_clear()


def address(tensor: Tensor, dtype: torch.dtype) -> ctypes.c_void_p:
    """Where a tensor's numbers begin.

    Raises
    ------
    ValueError
        It is not contiguous, or its numbers are of another format.
    """
    if tensor.dtype != dtype or not tensor.is_contiguous():
        raise ValueError(f"the library takes contiguous {dtype}, not {tensor.dtype}")
    return ctypes.c_void_p(tensor.data_ptr())


def why_no_library() -> str | None:
    """What this machine lacks for the library, or None."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no"):
        return f"${SWITCH} turns it off"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "it is for Linux on x86-64 only"
    missing = [flag for flag in _NEEDED if flag not in cpu_flags()]
    if missing:
        return f"the CPU has no {missing[0]}"
    if _compiler() is None:
        return f"no C++ compiler ({', '.join(_COMPILERS)}) is on the path"
    return None


def _compiler() -> str | None:
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)


def _flags() -> tuple[str, ...]:
    # Named one by one: "native" would depend on what the compiler makes of a newer CPU.
    bfloat16 = ("-mavx512bf16",) if "avx512_bf16" in cpu_flags() else ()
    return (*_FLAGS, *(f"-m{flag}" for flag in _NEEDED), *bfloat16)


def _file() -> Path:
    """Where the library of these sources, flags and compiler belongs."""
    name = hashlib.sha256()
    for part in (*_flags(), os.path.realpath(_compiler() or "")):
        name.update(part.encode() + b"\0")
    for source in (*_SOURCES, *sorted(_FOLDER.glob("*.h"))):
        name.update(source.read_bytes())
    return user_cache_path("napari-sam") / "native" / f"{name.hexdigest()[:32]}.so"


def _made(file: Path) -> Path:
    """Compile the sources where that has not been done. Two processes at once do no harm."""
    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in file.parent.glob(f"{_MAKING}*"):  # by programs that ended while it was made
        with suppress(OSError):  # another program may clear it away as well
            if time.time() - left.stat().st_mtime > 2 * _SECONDS:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=_MAKING) as folder:
        made = Path(folder) / file.name
        command = [_compiler() or "c++", *_flags(), *map(str, _SOURCES), "-o", str(made)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            raise OSError(
                done.stderr.strip()[-500:] or f"the compiler ended with {done.returncode}"
            )
        made.replace(file)
    return file
