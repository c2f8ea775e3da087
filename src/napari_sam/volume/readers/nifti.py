"""NIfTI through nibabel (extra ``nifti``): voxels as they lie in the file, x first.

A compressed file is unpacked once to a temporary one, for single planes cannot be found in it.
"""

import gzip
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import missing_extra
from napari_sam.volume.lazy_image import LazyImage, known_levels

__all__ = ["open_nifti"]

_UNITS = {"mm": "millimeter", "micron": "micrometer", "meter": "meter", "sec": "second",
          "msec": "millisecond", "usec": "microsecond"}  # fmt: skip
_LETTERS = "xyztc"


class _Scaled:
    """Values as the header scales them, in float32; of one without a scale as they are."""

    def __init__(self, proxy: Any, shape: tuple[int, ...]) -> None:
        self._proxy, self.shape = proxy, shape
        plain = (float(proxy.slope), float(proxy.inter)) == (1.0, 0.0)
        self.dtype = np.dtype(proxy.dtype) if plain else np.dtype(np.float32)

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        missing = len(self._proxy.shape) - len(self.shape)
        whole = (*key[:3], *(0 for _ in range(missing)), *key[3:])
        return np.asarray(self._proxy[whole]).astype(self.dtype, copy=False)


def open_nifti(path: Path, level: int | None, closing: ExitStack) -> LazyImage:
    """Open a ``.nii`` or ``.nii.gz``.

    Raises
    ------
    MissingExtraError
        nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise missing_extra("NIfTI", "nibabel", "nifti") from error

    if path.suffix.lower() == ".gz":
        path = _unpacked(path, closing)
    image: Any = nibabel.load(path)
    shape = tuple(int(n) for n in image.shape)
    letters = _LETTERS[: len(shape)]
    if len(shape) == 5 and shape[3] == 1:  # channels and no time
        shape, letters = (*shape[:3], shape[4]), "xyzc"
    zooms = dict(zip(_LETTERS, image.header.get_zooms(), strict=False))
    space, time = (_UNITS.get(name) for name in image.header.get_xyzt_units())
    units = {"x": space, "y": space, "z": space, "t": time}
    scale = tuple(float(zooms[a]) if a in units and zooms.get(a) else 1.0 for a in letters)
    return LazyImage(
        _Scaled(image.dataobj, shape), letters, known_levels(path, level), scale,
        (0.0,) * len(letters), tuple(units.get(a) for a in letters),
    )  # fmt: skip


def _unpacked(path: Path, closing: ExitStack) -> Path:
    folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="napari-sam-"))
    target = Path(folder) / path.stem
    with gzip.open(path) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    return target
