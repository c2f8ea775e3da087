"""What a long job tells whoever consumes it. Knows nothing of bars or threads."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Progress:
    """One report of a running job.

    Parameters
    ----------
    done
        Steps finished, 0 to ``total``.
    total
        Steps in all; 0 where it is not known.
    message
        What is being done now, for a person.
    """

    done: int
    total: int
    message: str = ""


def finish(job: Generator[object, None, _T]) -> _T:
    """Run a job to its end, unwatched; its result."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            result: _T = end.value
            return result
