"""Memory: what the model has answered, so that nothing is asked twice.

A propagation is always done from its beginning; what was asked before in the same words is known.
So a correction costs only the planes that it changes, and a killed job goes on: both give exactly
what a run in one piece gives. Knows claims; no model.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np

from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.stack import Look

__all__ = ["FolderMemory", "Memory", "PlaneMemory", "Remembers"]

PlaneMemory = Mapping[int, tuple[str, Claim]]
"""Of one pass over one plane: object -> what was asked (a digest), what was answered."""


class Remembers(Protocol):
    """Keeps answers by pass and plane."""

    def read(self, name: str, plane: int) -> PlaneMemory:
        """What is known; empty where nothing is."""
        ...

    def write(self, name: str, plane: int, known: PlaneMemory) -> None:
        """Keep answers, in place of all earlier ones of this pass and plane."""
        ...


class Memory:
    """Answers in memory: give the same one to each run on an image with the same model."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], PlaneMemory] = {}

    def read(self, name: str, plane: int) -> PlaneMemory:
        """What is known."""
        return self._known.get((name, plane), {})

    def write(self, name: str, plane: int, known: PlaneMemory) -> None:
        """Keep answers."""
        self._known[name, plane] = dict(known)


class FolderMemory:
    """Answers in a folder, a file for each pass and plane, whole or not there."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, plane: int) -> PlaneMemory:
        """What is known; a damaged file counts as not there."""
        path = self._path(name, plane)
        if not path.exists():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return _unpack({key: stored[key] for key in stored.files})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return {}

    def write(self, name: str, plane: int, known: PlaneMemory) -> None:
        """Keep answers.

        Raises
        ------
        StoreError
            The disk is full.
        """
        from napari_sam.volume.store import plain_errors

        path = self._path(name, plane)
        part = path.with_suffix(f".{os.getpid()}.part")
        with plain_errors(self.folder):
            with part.open("wb") as file:
                np.savez_compressed(file, **_pack(known))  # type: ignore[arg-type]
            part.replace(path)

    def _path(self, name: str, plane: int) -> Path:
        return self.folder / f"{name}-{plane:06d}.npz"


def _pack(known: PlaneMemory) -> dict[str, np.ndarray]:
    claims = [claim for _, claim in known.values()]
    regions = [(*_ends(c.look.region), *(c.look.cell or (-1, -1)), *_ends(c.cells)) for c in claims]
    frames = [
        (*c.frame.original, *c.frame.scaled, *c.frame.canvas, c.frame.mask_stride) for c in claims
    ]
    flat = [claim.logits.reshape(-1) for claim in claims]
    return {
        "ids": np.array(list(known), np.int64),
        "asked": np.array([asked for asked, _ in known.values()], "U32"),
        "scores": np.array([claim.score for claim in claims], np.float64),
        "regions": np.array(regions, np.int64).reshape(-1, 10),
        "frames": np.array(frames, np.int64).reshape(-1, 7),
        "logits": np.concatenate([*flat, np.zeros(0, np.int8)]),
    }


def _unpack(stored: Mapping[str, np.ndarray]) -> PlaneMemory:
    from napari_sam.core.frame import Frame

    known: dict[int, tuple[str, Claim]] = {}
    start = 0
    for i, one in enumerate(stored["ids"].tolist()):
        y0, y1, x0, x1, row, column, *cells = stored["regions"][i].tolist()
        look = Look((slice(y0, y1), slice(x0, x1)), None if row < 0 else (row, column))
        where = (slice(cells[0], cells[1]), slice(cells[2], cells[3]))
        sizes = stored["frames"][i].tolist()
        frame = Frame(tuple(sizes[0:2]), tuple(sizes[2:4]), tuple(sizes[4:6]), sizes[6])
        shape = (cells[1] - cells[0], cells[3] - cells[2])
        stop = start + shape[0] * shape[1]
        logits = stored["logits"][start:stop].reshape(shape)
        known[one] = (
            str(stored["asked"][i]),
            Claim(look, frame, where, logits, float(stored["scores"][i])),
        )
        start = stop
    return known


def _ends(region: Sequence[slice]) -> tuple[int, ...]:
    return tuple(end for part in region for end in (part.start, part.stop))
