"""Images without labels, as the pictures that a model sees: what pre-training learns from."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.intensity import to_picture
from napari_sam.errors import ImageError, TrainingError
from napari_sam.evaluation.datasets import MANIFEST, read_array, read_manifest
from napari_sam.volume.image import ImageRef

FLAT = (".png", ".jpg", ".jpeg")
STACKED = (".tif", ".tiff", ".npy", ".zarr")
MOST_PLANES = 8  # of a stack: neighbours are nearly the same picture


def read_pictures(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Pictures (H, W, 3) of image files, of folders of them, or of packs.

    Raises
    ------
    TrainingError
        There is no image, or one cannot be read: the message names it.
    """
    pictures = []
    for path in paths:
        for file in _files(path):
            try:
                pictures += list(_planes(file))
            except (ImageError, OSError, ValueError) as error:
                raise TrainingError(f"{file} cannot be read: {error}") from error
    if not pictures:
        named = ", ".join(str(path) for path in paths)
        raise TrainingError(f"no image in {named}: {', '.join(FLAT + STACKED)} are read.")
    return pictures


def _files(path: Path) -> Iterator[Path]:
    if (path / MANIFEST).is_file():
        yield from (path / item["image"] for item in read_manifest(path)["items"])
    elif path.suffix.lower() in FLAT + STACKED:
        yield path
    elif path.is_dir():
        kinds = FLAT + STACKED
        yield from (p for p in sorted(path.iterdir()) if p.suffix.lower() in kinds)
    else:
        raise TrainingError(f"{path} is neither an image nor a folder of images.")


def _planes(path: Path) -> Iterator[NDArray[np.uint8]]:
    if path.suffix.lower() in FLAT:
        yield to_picture(read_array(path))
        return
    image = ImageRef.open(path)
    planes = list(image.planes)
    for plane in planes[:: max(1, len(planes) // MOST_PLANES)]:
        yield to_picture(image.read(plane))
