"""Stops torch in this thread between two of its operations: for work ahead that may be given up.

Knows torch; knows no models. Encoding a picture takes seconds and cannot ask whether it is still
wanted; its operations take milliseconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "interruptible"]


class Interrupted(Exception):  # noqa: N818  (no error: what was begun is no longer wanted)
    """The work was given up; nothing is wrong."""


@contextmanager
def interruptible(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Raise :class:`Interrupted` at the next torch operation once something says so.

    Parameters
    ----------
    unwanted
        Asked before each operation of this thread; other threads go on.
    """
    from torch.overrides import TorchFunctionMode

    class Asking(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if unwanted():
                raise Interrupted
            return func(*args, **(kwargs or {}))

    if unwanted():
        raise Interrupted
    with Asking():
        yield
