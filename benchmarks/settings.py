"""What a run may set."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

SMALL = "small"
"""A network of a few thousand parameters, for ``--quick``: no model, no meaningful times."""


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Settings:
    """One run of the benchmark.

    Attributes
    ----------
    models
        Registry names.
    contenders
        Who takes part, by name.
    folder
        Where weights and exported networks are kept between runs.
    rounds
        Turns of each contender; work of minutes gets a third of them (``long_rounds``).
    threads
        Threads of each contender.
    points
        Points along a side of the automatic generator's grid.
    quick
        Small pictures and few repeats: only to see that everything runs.
    memory
        Whether peak memory is measured, in a fresh process for each contender.
    tell
        Where progress goes.
    """

    models: tuple[str, ...]
    contenders: tuple[str, ...]
    folder: Path
    rounds: int = 3
    threads: int = 2
    points: int = 32
    quick: bool = False
    memory: bool = True
    tell: Callable[[str], None] = field(default=_tell, compare=False)

    @property
    def long_rounds(self) -> int:
        """Turns where one takes minutes."""
        return max(1, self.rounds // 3)

    @property
    def turn_seconds(self) -> float:
        """Least length of a turn: above ``timing.CLOCK_S``, so that it can be judged."""
        return 0.0 if self.quick else 0.5

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the picture for clicks and automatic masks."""
        return (120, 180) if self.quick else (1200, 1800)

    def to_json(self) -> str:
        """All but where progress goes, for a child process."""
        fields = asdict(self) | {"folder": str(self.folder)}
        del fields["tell"]
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Back from :meth:`to_json`."""
        fields = json.loads(text)
        return cls(
            **fields
            | {
                "models": tuple(fields["models"]),
                "contenders": tuple(fields["contenders"]),
                "folder": Path(fields["folder"]),
            }
        )
