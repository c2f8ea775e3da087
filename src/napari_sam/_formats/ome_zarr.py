"""Labels as OME-Zarr 0.5: a label image of its own, or among the labels of an image.

Colours of classes and what is known of objects are in ``image-label``, as the format has it; what
it has no word for in an attribute of ours. Pyramids are those of ``volume/ome``.
"""

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam._formats.object_set import ObjectSet
from napari_sam._formats.table import OBJECTS, read_table, table_of
from napari_sam._result_files import PROVENANCE_KEY, move_there
from napari_sam.errors import ImageError
from napari_sam.volume.image import ImageRef
from napari_sam.volume.ome import LabelImage, list_name

__all__ = ["parent_image", "read", "write"]

TILE = (1024, 1024)


def parent_image(path: Path) -> Path | None:
    """The OME-Zarr image to whose labels a path belongs: ``image.zarr/labels/name``."""
    image = path.parent.parent
    there = (image / "zarr.json").is_file() or (image / ".zattrs").is_file()
    return image if path.parent.name == "labels" and there else None


def write(path: Path, objects: ObjectSet) -> None:
    """Write a label image; it appears under its name when it is complete.

    Parameters
    ----------
    path
        ``labels.zarr``, or ``image.zarr/labels/name`` for labels of an image that is there.

    Raises
    ------
    ImageError
        The image that is there has other pixels.
    StoreError
        The name cannot be one.
    OSError
        The disk is full or may not be written.
    """
    image = parent_image(path)
    work = path.parent / f".{path.name}.part"
    shutil.rmtree(work, ignore_errors=True)
    source, root = (
        (_in_memory(objects), work) if image is None else (_beside(image, objects), image)
    )
    name = "labels" if image is None else f"{path.name}.part"
    made = root / "labels" / name
    shutil.rmtree(made, ignore_errors=True)
    try:
        label = LabelImage.create(
            root, name, source, dtype="uint32", tile=TILE, made_from={"by": "napari-sam"}
        )
        _fill(label, objects)
        label.describe(_image_label(objects), {PROVENANCE_KEY: table_of(objects)})
        move_there(made, path)
        if image is not None:
            list_name(path.parent, path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)


def read(path: Path) -> ObjectSet:
    """Labels of a label image, or the only ones of an image.

    Raises
    ------
    ImageError
        There are none, or several.
    """
    import zarr

    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if "image-label" not in ome:
        names = sorted(group["labels"].group_keys()) if "labels" in group else []  # type: ignore[union-attr]
        if len(names) != 1:
            there = ", ".join(names) or "none"
            raise ImageError(
                f"{path} is no label image. Its labels: {there}. Choose a folder labels/<name>."
            )
        return read(path / "labels" / names[0])
    scale = ome["multiscales"][0]
    values = np.asarray(group[scale["datasets"][0]["path"]])
    table = read_table(attributes.get(PROVENANCE_KEY))
    if not table:
        table = _from_properties(ome["image-label"])
    return ObjectSet(values, **table)


def _in_memory(objects: ObjectSet) -> ImageRef:
    if "c" in objects.axes:
        raise ImageError(f"OME-Zarr labels have axes t, z, y and x; these have {objects.axes!r}.")
    source = ImageRef.open(objects.labels, axes=objects.axes)
    unit = objects.unit or None
    units = tuple(unit if axis in "zyx" else None for axis in objects.axes)
    return replace(source, scale=objects.scale, units=units)


def _beside(image: Path, objects: ObjectSet) -> ImageRef:
    source = ImageRef.open(image)
    pairs = zip(source.axes, source.shape, strict=True)
    shape = tuple(n for axis, n in pairs if axis != "c")
    if shape != objects.labels.shape:
        raise ImageError(
            f"{image} has {shape} pixels without channels, these labels {objects.labels.shape}:"
            " save them under a name of their own."
        )
    return source


def _fill(label: LabelImage, objects: ObjectSet) -> None:
    """Level 0 and the pyramid, plane by plane."""
    axes = label.axes
    height, width = objects.labels.shape[-2:]
    whole = (slice(0, height), slice(0, width))
    for index in product(*map(range, objects.labels.shape[:-2])):
        here = dict(zip(axes, index, strict=False))
        label.write((here.get("t", 0), here.get("z", 0)), whole, objects.labels[index])


def _image_label(objects: ObjectSet) -> dict[str, Any]:
    """Colours and properties, as OME-Zarr has them."""
    colours, properties = [], []
    for number, facts in sorted(objects.facts.items()):
        colour = objects.kinds.get(facts.kind, "")
        if colour:
            rgba = [*bytes.fromhex(colour[1:]), 255]
            colours.append({"label-value": number, "rgba": rgba})
        said = {"class": facts.kind, "score": facts.score, "reviewed": facts.reviewed}
        properties.append({"label-value": number, **said})
    return {"colors": colours, "properties": properties}


def _from_properties(label: Any) -> dict[str, Any]:
    rows = [
        {
            "id": one["label-value"],
            "class": one.get("class") or "",
            "score": one.get("score"),
            "reviewed": one.get("reviewed", False),
        }
        for one in label.get("properties") or ()
    ]
    return read_table({OBJECTS: rows})
