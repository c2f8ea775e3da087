"""Brings torch's libraries into memory while the window lives. Knows no torch, only its files.

Python's import holds the interpreter while it loads a library, so the first import of torch, in
whatever thread, freezes the window for a second. A foreign call lets go of the interpreter: load
the large libraries that way first, and the import finds them there.
"""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

logger = logging.getLogger(__name__)

LIBRARIES = ("libtorch_cpu.so", "libtorch_python.so", "libtorch_cpu.dylib", "libtorch_python.dylib")


@contextmanager
def gentle_import() -> Iterator[None]:
    """For the first import of torch in a worker: large libraries beforehand, no garbage collector.

    A full collection in the midst of a million new objects is another pause of 0.2 s.
    """
    if "torch" in sys.modules:
        yield
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        preload_torch()
        yield
    finally:
        if collects:
            gc.enable()


def preload_torch() -> None:
    """Load torch's libraries; does nothing where that is not possible."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None or sys.platform == "win32":
        return
    # OpenMP comes with them and reads this once: the policy of core/runtime, which imports torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    libc = ctypes.CDLL(None)
    libc.dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    libc.dlopen.restype = ctypes.c_void_p
    for name in LIBRARIES:
        path = Path(spec.origin).parent / "lib" / name
        if path.is_file() and not libc.dlopen(os.fsencode(path), os.RTLD_NOW | os.RTLD_LOCAL):
            logger.debug("could not load %s beforehand", path)
