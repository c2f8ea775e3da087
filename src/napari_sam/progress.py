"""What a long job tells whoever consumes it. Knows nothing of jobs, bars or threads."""

from dataclasses import dataclass


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
