"""Manifest: what a store of tiles was made from, and whether that is what is wanted now.

Knows plain values only; no files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sam.errors import StoreError, StoreMismatchError
from napari_sam.volume.tiles import TileGrid

__all__ = ["ArraySpec", "Manifest"]

FORMAT = "napari-sam tiles 1"


@dataclass(frozen=True)
class ArraySpec:
    """What is kept of each tile: a name, the shape of one tile, and a number format.

    ``bfloat16`` is stored as the upper half of float32, in uint16.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that decides what a tile's result is.

    Attributes
    ----------
    kind
        ``"embeddings"`` or ``"labels"``.
    model
        Name, sha256 of the weights, precision.
    image
        From :func:`~napari_sam.volume.sample.fingerprint`, with the level.
    grid
        How planes are cut.
    intensity
        From :meth:`~napari_sam.volume.intensity.VolumeIntensity.as_dict`.
    params
        Settings of the job, plain values.
    arrays
        What is kept of each tile; follows from the rest, so it is not compared.
    frame
        Of embeddings: sizes of an image on its way through the model, one for all tiles. Follows
        from the rest, too.
    notes
        For people: where the image lay, which version wrote this. Not compared.
    """

    kind: str
    model: Mapping[str, Any]
    image: Mapping[str, Any]
    grid: TileGrid
    intensity: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    arrays: tuple[ArraySpec, ...] = ()
    frame: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        arrays = [{"name": a.name, "shape": a.shape, "dtype": a.dtype} for a in self.arrays]
        values = {**self._identity(), "arrays": arrays, "frame": self.frame}
        values["notes"] = dict(self.notes)
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Manifest":
        """From a store's attributes.

        Raises
        ------
        StoreError
            It is none, or of another version.
        """
        if stored.get("format") != FORMAT:
            raise StoreError(
                f"the store has the format {stored.get('format')!r}; this version knows {FORMAT!r}."
            )
        arrays = [ArraySpec(a["name"], tuple(a["shape"]), a["dtype"]) for a in stored["arrays"]]
        return cls(
            kind=stored["kind"],
            model=stored["model"],
            image=stored["image"],
            grid=TileGrid.from_dict(stored["grid"]),
            intensity=stored["intensity"],
            params=stored["params"],
            arrays=tuple(arrays),
            frame=stored["frame"],
            notes=stored["notes"],
        )

    def check(self, wanted: "Manifest", where: str) -> None:
        """Refuse to go on with a store that was made from something else.

        Raises
        ------
        StoreMismatchError
            Names the first field that differs, what is stored and what is wanted.
        """
        stored, asked = _leaves(self._plain_identity()), _leaves(wanted._plain_identity())
        for name in sorted(stored.keys() | asked.keys()):
            have, want = stored.get(name), asked.get(name)
            if have != want:
                raise StoreMismatchError(
                    f"{where} was made with {name} = {have!r}, now {name} = {want!r} is wanted."
                    " Use the same settings to go on, or another name or folder to start anew."
                )

    def _identity(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "model": dict(self.model),
            "image": dict(self.image),
            "grid": self.grid.as_dict(),
            "intensity": dict(self.intensity),
            "params": dict(self.params),
        }

    def _plain_identity(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(self._identity()))
        return plain


def _leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested values by dotted name; lists count as values."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{path}{name}.")
        else:
            found[path + name] = value
    return found
