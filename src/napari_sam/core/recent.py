"""What was computed from a tensor, kept while that tensor lives. Knows torch only."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")


class Recent(Generic[V]):
    """Remembers values by the tensor they came from; safe to share between threads.

    An entry goes when its tensor does, or when ``most`` newer ones came in. Tensors are told apart
    by identity: writing into one of them afterwards goes unnoticed.

    Parameters
    ----------
    most
        How many entries are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[int, tuple[weakref.ref[Tensor], V]] = OrderedDict()
        # Reentrant: a tensor may be collected, and its entry dropped, while an entry is made.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, source: Tensor, compute: Callable[[], V]) -> V:
        """The value that belongs to ``source``, computed if it is not known.

        Whoever asks meanwhile waits, so that a value is never computed twice.
        """
        key = id(source)
        with self._lock:
            known = self._entries.get(key)
            if known is not None and known[0]() is source:
                self._entries.move_to_end(key)
                return known[1]
            value = compute()
            self._entries[key] = (weakref.ref(source, lambda gone: self._drop(key, gone)), value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
            return value

    def _drop(self, key: int, gone: "weakref.ref[Tensor]") -> None:
        with self._lock:
            known = self._entries.get(key)
            if known is not None and known[0] is gone:
                del self._entries[key]
