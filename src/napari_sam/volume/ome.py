"""Label images in OME-Zarr: ``labels/<name>`` of an image, 0.4 or 0.5 as the image is.

Knows metadata and pyramids; knows no tiles. Plain chunks, so that an edit stays quick. The pyramid
takes every second pixel, which never invents a label.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.regions import Region, Size
from napari_sam.errors import StoreError, StoreMismatchError
from napari_sam.volume.image import ImageRef, Plane

__all__ = ["LabelImage"]

ATTRIBUTE = "napari_sam"
COARSEST = 1024  # pixels: the pyramid ends with the first level that is not larger
MOST_CHUNK = 512
SCANNED = 4096  # pixels a side of the blocks in which the highest label is searched


class LabelImage:
    """A label image on disk with its pyramid. Made by :meth:`create` or :meth:`open`.

    Attributes
    ----------
    path
        The folder ``labels/<name>``.
    axes
        Letters of ``tzyx``.
    levels
        How many resolutions there are; level 0 has the size of the image.
    """

    def __init__(self, path: Path) -> None:
        import zarr

        self.path = path
        self._group = zarr.open_group(path, mode="r+")
        attributes: Any = self._group.attrs.asdict()
        multiscale = attributes.get("ome", attributes)["multiscales"][0]
        self.axes = "".join(axis["name"] for axis in multiscale["axes"])
        self._arrays: list[Any] = [self._group[data["path"]] for data in multiscale["datasets"]]
        self.levels = len(self._arrays)

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        image: ImageRef,
        *,
        dtype: str,
        tile: Size,
        made_from: Mapping[str, Any],
    ) -> "LabelImage":
        """Make an empty label image, or go on with one that was begun for the same.

        Parameters
        ----------
        root
            The OME-Zarr image itself, or any other folder for labels of their own.
        name
            Of the label image: letters, digits, ``-``, ``_`` and ``.``.
        image
            Gives shape, axes and scale.
        dtype
            ``"uint32"`` or ``"uint64"``.
        tile
            (height, width) that is written at once: a multiple of the chunks.
        made_from
            Manifest and settings, kept beside the labels; plain values.

        Raises
        ------
        StoreMismatchError
            There are labels of this name that were made in another way.
        StoreError
            The name cannot be one, or something else is there.
        """
        begun = cls.begun(root, name, made_from)
        if begun is None:
            _make(root, root / "labels" / name, image, dtype, tile, made_from)
        return begun or cls(root / "labels" / name)

    @classmethod
    def begun(cls, root: Path, name: str, made_from: Mapping[str, Any]) -> "LabelImage | None":
        """The label image that was begun for the same; None if there is none yet.

        Raises
        ------
        StoreMismatchError, StoreError
            As :meth:`create`.
        """
        check_name(name)
        path = root / "labels" / name
        stored = provenance(path)
        if stored is None:
            if _foreign(path):
                raise _other(path)
            return None
        if stored.get("made_from") != json.loads(json.dumps(made_from)):
            raise _other(path)
        return cls(path) if stored.get("ready") else None

    @property
    def complete(self) -> bool:
        """Whether all of it was written once; edits by hand may have followed."""
        return bool((provenance(self.path) or {}).get("complete"))

    def write(self, plane: Plane, region: Region, labels: NDArray[Any]) -> None:
        """Write labels (y, x) into a region of a plane, and what follows into the pyramid."""
        for level, array in enumerate(self._arrays):
            step = 2**level
            target = tuple(slice(-(-s.start // step), -(-s.stop // step)) for s in region)
            if any(s.start >= s.stop for s in target):
                continue
            y, x = (s.start * step - r.start for s, r in zip(target, region, strict=True))
            array[self._index(plane, *target)] = self._turned(labels[y::step, x::step])

    def read(self, plane: Plane, region: Region) -> NDArray[Any]:
        """Labels (y, x) of a region of a plane at level 0."""
        return self._turned(np.asarray(self._arrays[0][self._index(plane, *region)]))

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The zarr arrays, the finest first."""
        return tuple(self._arrays)

    def write_block(self, region: tuple[slice, ...], labels: NDArray[Any]) -> None:
        """Write labels into a block along all axes, and what follows into the pyramid."""
        where = dict(zip(self.axes, region, strict=True))
        one = slice(0, 1)
        times, depths = where.get("t", one), where.get("z", one)
        order = [self.axes.index(a) for a in "tzyx" if a in self.axes]
        planes = labels.transpose(order).reshape(
            times.stop - times.start, depths.stop - depths.start,
            *(labels.shape[self.axes.index(a)] for a in "yx"),
        )  # fmt: skip
        for t, z in np.ndindex(planes.shape[:2]):
            self.write((times.start + t, depths.start + z), (where["y"], where["x"]), planes[t, z])

    def highest(self) -> int:
        """The highest label; those of another program are looked through, block by block."""
        stored = provenance(self.path)
        if stored is not None and stored.get("complete"):
            return max(int(stored.get("objects", 0)), int(stored.get("highest", 0)))
        finest = self._arrays[0]
        sides = [SCANNED if a in "yx" else 1 for a in self.axes]
        counts = [-(-n // side) for n, side in zip(finest.shape, sides, strict=True)]
        blocks = (
            finest[tuple(slice(i * s, (i + 1) * s) for i, s in zip(at, sides, strict=True))]
            for at in np.ndindex(*counts)
        )
        return max((int(np.max(block)) for block in blocks), default=0)

    def note_highest(self, label: int) -> None:
        """Remember the highest label, so that nobody has to look through all of them."""
        self._group.attrs[ATTRIBUTE] = {**(provenance(self.path) or {}), "highest": label}

    def rebuild(self, plane: Plane, region: Region) -> None:
        """Bring the pyramid in step after level 0 was edited inside a region of a plane."""
        self.write(plane, region, self.read(plane, region))

    @property
    def count(self) -> int:
        """How many objects there were when it was complete; 0 before."""
        return int((provenance(self.path) or {}).get("objects", 0))

    def finish(self, count: int) -> None:
        """List it among the labels of the image, and call it complete with so many objects."""
        list_name(self.path.parent, self.path.name)  # before: what is complete is not looked at
        stored = provenance(self.path) or {}
        self._group.attrs[ATTRIBUTE] = {**stored, "complete": True, "objects": count}

    def describe(self, label: Mapping[str, Any], others: Mapping[str, Any]) -> None:
        """Keep colours and properties in ``image-label``, and attributes of other names.

        Parameters
        ----------
        label
            ``colors`` and ``properties``, as OME-Zarr has them.
        others
            Attributes of the group; plain values.
        """
        attributes: Any = self._group.attrs.asdict()
        ome = attributes.get("ome", attributes)
        ome["image-label"] = {**ome["image-label"], **label}
        self._group.attrs.update({**attributes, **others})

    def _index(self, plane: Plane, rows: slice, columns: slice) -> tuple[Any, ...]:
        wanted: dict[str, Any] = {"t": plane[0], "z": plane[1], "y": rows, "x": columns}
        return tuple(wanted[axis] for axis in self.axes)

    def _turned(self, labels: NDArray[Any]) -> NDArray[Any]:
        """(y, x) as the axes have it, or back."""
        return labels if self.axes.index("y") < self.axes.index("x") else labels.T


def check_name(name: str) -> None:
    """Refuse names that are no folder names everywhere.

    Raises
    ------
    StoreError
        Says which characters are.
    """
    allowed = name.replace("-", "").replace("_", "").replace(".", "")
    if not allowed.isascii() or not allowed.isalnum() or name.startswith((".", "__")):
        raise StoreError(
            f"{name!r} cannot be the name of labels: take letters, digits, '-', '_' and '.'."
        )


def provenance(path: Path) -> dict[str, Any] | None:
    """What a label image says of how we made it; None if it is not ours or not there."""
    import zarr

    try:
        attributes: Any = zarr.open_group(path, mode="r").attrs.asdict()
    except FileNotFoundError:
        return None
    found: dict[str, Any] | None = attributes.get(ATTRIBUTE)
    return found


def _other(path: Path) -> StoreMismatchError:
    return StoreMismatchError(
        f"{path} is there already and was made with other settings or by another program. Take"
        " another name, or delete it first."
    )


def _make(
    root: Path, path: Path, image: ImageRef, dtype: str, tile: Size, made_from: Mapping[str, Any]
) -> None:
    """Our mark first, so that what a killed process left is known; ``ready`` when all is there."""
    import zarr

    ours = {"made_from": json.loads(json.dumps(made_from)), "ready": False, "complete": False}

    inside = image.zarr_format is not None and str(root.resolve()) == image.source
    zarr_format: Any = image.zarr_format if inside else 3
    if not _is_group(root):
        if _foreign(root):
            raise StoreError(f"{root} is there, but is no zarr group; choose another folder.")
        zarr.create_group(root, zarr_format=3)
    if not _is_group(root / "labels"):
        zarr.create_group(root / "labels", zarr_format=zarr_format)
    group = zarr.create_group(
        path, zarr_format=zarr_format, attributes={ATTRIBUTE: ours}, overwrite=path.exists()
    )
    axes = image.axes.replace("c", "")
    lengths = {axis: n for axis, n in zip(image.axes, image.shape, strict=True) if axis != "c"}
    height, width = image.size
    chunk = {"y": _chunk(tile[0]), "x": _chunk(tile[1])}
    levels = _levels_of(root) - image.level if inside else 0
    if levels < 1:
        levels = 1
        while max(height, width) > COARSEST << (levels - 1):
            levels += 1
    for level in range(levels):
        shape = tuple(-(-lengths[a] // 2**level) if a in "yx" else lengths[a] for a in axes)
        pairs = zip(axes, shape, strict=True)
        zarr.create_array(
            path / str(level), shape=shape, dtype=dtype, fill_value=0, zarr_format=zarr_format,
            chunks=tuple(min(chunk.get(a, 1), n) for a, n in pairs),
            dimension_names=list(axes) if zarr_format == 3 else None,
            chunk_key_encoding={"name": "default" if zarr_format == 3 else "v2", "separator": "/"},
        )  # fmt: skip
    attributes = _metadata(path.name, image, levels, inside, zarr_format)
    group.attrs.update({**attributes, ATTRIBUTE: {**ours, "ready": True}})


def _levels_of(root: Path) -> int:
    """How many resolutions an OME-Zarr image names: its labels have as many (OME-Zarr 0.4, 0.5)."""
    import zarr

    attributes: Any = zarr.open_group(root, mode="r").attrs.asdict()
    found = attributes.get("ome", attributes).get("multiscales") or [{"datasets": []}]
    return len(found[0]["datasets"])


def _foreign(path: Path) -> bool:
    """Whether there is something that a killed process of ours cannot have left."""
    metadata = ("zarr.json", ".zgroup", ".zattrs")
    return path.exists() and any(
        file.suffix != ".partial" and not (file.name in metadata and _empty(file))
        for file in path.iterdir()
    )


def _empty(metadata: Path) -> bool:
    stored = json.loads(metadata.read_text(encoding="utf-8"))
    return not stored.get("attributes") and stored.get("node_type", "group") == "group"


def _is_group(path: Path) -> bool:
    return any((path / name).exists() for name in ("zarr.json", ".zgroup"))


def _chunk(tile: int) -> int:
    """The largest even part of a tile's side that makes quick chunks."""
    parts = [tile // n for n in range(1, tile + 1) if tile % n == 0 and tile // n <= MOST_CHUNK]
    return parts[0] if parts[0] >= MOST_CHUNK // 8 else min(tile, MOST_CHUNK)


def _metadata(
    name: str, image: ImageRef, levels: int, inside: bool, zarr_format: int
) -> dict[str, Any]:
    """Attributes of the group, through the models of yaozarrs."""
    from yaozarrs import v04, v05

    kept = [i for i, axis in enumerate(image.axes) if axis != "c"]
    kinds = {"t": "time"}
    axes: list[dict[str, Any]] = [
        {"name": image.axes[i], "type": kinds.get(image.axes[i], "space")}
        | ({"unit": image.units[i]} if image.units[i] else {})
        for i in kept
    ]
    datasets = []
    for level in range(levels):
        steps = [2**level if image.axes[i] in "yx" else 1 for i in kept]
        scale = [image.scale[i] * step for i, step in zip(kept, steps, strict=True)]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(image.translation):
            shift = [image.translation[i] for i in kept]
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    multiscale = {"name": name, "axes": axes, "datasets": datasets}
    label: dict[str, Any] = {"source": {"image": "../../"}} if inside else {}
    if zarr_format == 3:
        values = {"version": "0.5", "multiscales": [multiscale], "image-label": label}
        return {"ome": _dump(v05.LabelImage.model_validate(values))}
    multiscale["version"] = "0.4"
    label["version"] = "0.4"
    values = {"multiscales": [multiscale], "image-label": label}
    return _dump(v04.LabelImage.model_validate(values))


def _dump(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def list_name(labels: Path, name: str) -> None:
    """Name a label image in the folder ``labels`` of an image, if it is not there already."""
    import zarr

    group = zarr.open_group(labels, mode="r+")
    attributes: Any = group.attrs.asdict()
    if group.metadata.zarr_format == 3:
        ome = attributes.get("ome", {"version": "0.5"})
        names = [*ome.get("labels", []), name]
        group.attrs["ome"] = {**ome, "labels": list(dict.fromkeys(names))}
    else:
        group.attrs["labels"] = list(dict.fromkeys([*attributes.get("labels", []), name]))
