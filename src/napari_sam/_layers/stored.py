"""Labels on disk as the output of a dock: level 0 is edited in place, the pyramid follows.

Knows a multiscale Labels layer and the label image behind it. napari cannot draw on such a layer;
what is kept of masks, and strokes in a paint window, are written to the disk and shown at once.
"""

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_sam._label_edit import Region
from napari_sam._layers.planes import same_space, shape_of
from napari_sam._layers.reader import FILE, label_tuple
from napari_sam.errors import ImageError, StoreError, StoreMismatchError
from napari_sam.volume.image import ImageRef
from napari_sam.volume.ome import LabelImage

CHUNKED = (512, 512)
MOST_NAMES = 100
MADE = {"made by": "napari-sam, by hand"}


class StoredLabels:
    """A label image on disk as a :class:`~napari_sam._label_edit.LabelImage`.

    Parameters
    ----------
    layer
        Shows it.
    image
        Is written.
    """

    def __init__(self, layer: Labels, image: LabelImage) -> None:
        self.layer, self.image = layer, image
        self._highest: int | None = None
        self.followers: list[Any] = []  # called with each region that was written

    def close(self) -> None:
        """Let go of the layer."""
        self.followers.clear()

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(int(n) for n in self.image.arrays[0].shape)

    @property
    def largest(self) -> int:
        """The highest label that its dtype can hold."""
        return int(np.iinfo(self.image.arrays[0].dtype).max)

    @property
    def locked(self) -> bool:
        """Whether the layer's "preserve labels" is on."""
        return bool(self.layer.preserve_labels)

    def highest(self) -> int:
        """The highest label; labels of another program are looked through, once."""
        if self._highest is None:
            self._highest = self.image.highest()
        return self._highest

    def read(self, region: Region) -> NDArray[Any]:
        """A copy of a region."""
        return np.array(self.image.arrays[0][region])

    def write(self, region: Region, values: NDArray[Any]) -> None:
        """Replace a region, and the blocks of the pyramid over it."""
        self.image.write_block(region, values)
        highest = max(self.highest(), int(values.max(initial=0)))
        if highest > (self._highest or 0):
            self._highest = highest
            self.image.note_highest(highest)
        self.layer.refresh(extent=False)
        for follow in self.followers:
            follow(region, values)


def is_stored(layer: Labels) -> bool:
    """Whether a layer shows labels on disk that we can write."""
    return bool(layer.metadata.get(FILE, {}).get("labels"))


def open_stored(layer: Labels) -> StoredLabels:
    """The labels behind a layer.

    Raises
    ------
    StoreError
        Its pyramid is of another kind than ours, so it could not be kept in step.
    """
    path = Path(layer.metadata[FILE]["path"])
    image = LabelImage(path)
    fine = dict(zip(image.axes, image.arrays[0].shape, strict=True))
    for level, array in enumerate(image.arrays):
        expected = [-(-n // 2**level) if a in "yx" else n for a, n in fine.items()]
        if list(array.shape) != expected:
            raise StoreError(
                f"{path} has a pyramid that napari-sam cannot keep in step (level {level} is"
                f" {tuple(array.shape)}, not {tuple(expected)}): choose the new labels instead."
            )
    return StoredLabels(layer, image)


def check_stored(layer: Labels, image: Image) -> None:
    """Whether labels on disk can take the objects of an image.

    Raises
    ------
    ImageError
        Their pixels are not those of the image.
    """
    if tuple(layer.data.shape) != shape_of(image):
        raise ImageError(
            f"{layer.name!r} does not have the pixels of {image.name!r}: choose another output."
        )


def by_hand(root: Path, name: str, ref: ImageRef) -> Path:
    """Labels for work by hand: ``labels/<name>`` as it was left, or new ones.

    Labels of another origin are not touched, unless somebody chooses them as the output: the name
    gets a number then.

    Raises
    ------
    StoreError
        The disk is full, or the name cannot be one.
    """
    for number in range(1, MOST_NAMES):
        chosen = name if number == 1 else f"{name}-{number}"
        try:
            made = LabelImage.create(
                root, chosen, ref, dtype="uint32", tile=CHUNKED, made_from=MADE
            )
        except StoreMismatchError:
            continue
        if not made.complete:
            made.finish(0)
        return made.path
    raise StoreError(f"{root} has {MOST_NAMES} labels {name!r}: take another name.")


def layer_of(path: Path, ref: ImageRef, image: Image) -> Labels:
    """A layer of a label image that is there; on the image's pixels where it has as many."""
    data, options, _ = label_tuple(path, ref)
    first = data[0] if isinstance(data, list) else data
    if tuple(first.shape) == shape_of(image):
        options |= same_space(image)
    return Labels(data, cache=False, **options)
