"""DICOM through pydicom (extra ``dicom``): a folder with one series, or a file of many frames.

Slices are put in order by where they lie in the patient. Values are those of the modality (HU in
CT): rescaled where the file says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError, missing_extra
from napari_sam.volume.lazy_image import LazyImage, known_levels
from napari_sam.volume.readers.planes import Planes

__all__ = ["is_dicom_folder", "open_dicom"]

_KEPT = 8  # slices that are decoded
_MAGIC = b"DICM"  # after 128 bytes


@dataclass(frozen=True, eq=False)
class _Slice:
    """One picture: where it is, and what makes values of its numbers."""

    path: Path
    frame: int
    header: Any
    slope: float
    intercept: float


def is_dicom_folder(path: Path) -> bool:
    """Whether there are DICOM files in a folder."""
    return any(_is_dicom(file) for file in path.iterdir())


def open_dicom(path: Path, level: int | None) -> LazyImage:
    """Open a folder of slices or one file.

    Raises
    ------
    MissingExtraError
        pydicom is not installed.
    ImageError
        There are several series, or slices that do not fit together.
    """
    try:
        import pydicom
    except ImportError as error:
        raise missing_extra("DICOM", "pydicom", "dicom") from error

    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if _is_dicom(f))
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    headers, files = _pictures(path, headers, files)
    slices = _frames(files[0], headers[0]) if len(files) == 1 else _sorted(files, headers)
    times = _times(path, slices)
    size, colours = _size(path, slices)
    lengths = {"t": times, "z": len(slices) // times}
    first = [axis for axis in "tz" if lengths[axis] > 1]
    shape = (*(lengths[axis] for axis in first), *size, *colours)
    dtype = _dtype(slices)
    array = Planes(shape, dtype, len(first), _reader(slices, lengths, first, dtype))
    axes = "".join(first) + ("yxc" if colours else "yx")
    steps = _steps(slices[::times])
    return LazyImage(
        array, axes, known_levels(path, level), tuple(steps.get(a, 1.0) for a in axes),
        (0.0,) * len(axes), tuple("millimeter" if a in steps else None for a in axes),
    )  # fmt: skip


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == _MAGIC


def _pictures(path: Path, headers: list[Any], files: list[Path]) -> tuple[list[Any], list[Path]]:
    """Those with pixels, of one series."""
    kept = [i for i, header in enumerate(headers) if "Rows" in header]
    series = {str(headers[i].get("SeriesInstanceUID")): headers[i] for i in kept}
    if not kept:
        raise ImageError(f"{path} holds no DICOM picture.")
    if len(series) > 1:
        names = ", ".join(str(h.get("SeriesDescription", uid)) for uid, h in series.items())
        raise ImageError(f"{path} holds {len(series)} series ({names}): give each its own folder.")
    return [headers[i] for i in kept], [files[i] for i in kept]


def _frames(file: Path, header: Any) -> list[_Slice]:
    shared = _functional(header.get("SharedFunctionalGroupsSequence"), header)
    count = int(header.get("NumberOfFrames") or 1)
    return [_Slice(file, frame, shared, *_rescale(shared)) for frame in range(count)]


def _functional(groups: Any, header: Any) -> Any:
    """The header with what an enhanced file says of all its frames in another place."""
    for sequence in ("PixelMeasuresSequence", "PixelValueTransformationSequence"):
        for group in groups or ():
            for item in group.get(sequence) or ():
                for element in item:
                    header[element.tag] = element
    return header


def _sorted(files: Sequence[Path], headers: Sequence[Any]) -> list[_Slice]:
    slices = [_Slice(f, 0, h, *_rescale(h)) for f, h in zip(files, headers, strict=True)]
    return sorted(slices, key=lambda one: (_place(one.header), _number(one.header)))


def _place(header: Any) -> float:
    """Millimeters along the normal of the plane; the number of the slice where unknown."""
    position, turn = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if not position or not turn:
        return float(_number(header))
    normal = np.cross(np.array(turn[:3], float), np.array(turn[3:], float))
    return round(float(np.dot(normal, np.array(position, float))), 3)


def _number(header: Any) -> int:
    return int(header.get("InstanceNumber") or 0)


def _rescale(header: Any) -> tuple[float, float]:
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return (1.0 if slope is None else float(slope), float(intercept or 0))


def _times(path: Path, slices: list[_Slice]) -> int:
    """How many pictures there are of each place."""
    if len({one.path for one in slices}) == 1:
        return 1
    counts = np.unique([_place(one.header) for one in slices], return_counts=True)[1]
    if len(set(counts.tolist())) > 1:
        raise ImageError(f"{path} has {counts.min()} to {counts.max()} slices at one place; a stack"
                         " or a series of equal stacks is wanted.")  # fmt: skip
    return int(counts[0])


def _size(path: Path, slices: list[_Slice]) -> tuple[tuple[int, int], tuple[int, ...]]:
    sizes = {(int(h.Rows), int(h.Columns), int(h.get("SamplesPerPixel", 1)))
             for h in (one.header for one in slices)}  # fmt: skip
    if len(sizes) > 1:
        raise ImageError(f"{path} has slices of different sizes: {sorted(sizes)[:2]} ...")
    rows, columns, samples = sizes.pop()
    return (rows, columns), (samples,) if samples > 1 else ()


def _dtype(slices: list[_Slice]) -> np.dtype[Any]:
    header = slices[0].header
    if {(one.slope, one.intercept) for one in slices} != {(1.0, 0.0)}:
        return np.dtype(np.float32)
    kind = "i" if header.get("PixelRepresentation") else "u"
    return np.dtype(f"{kind}{max(1, int(header.BitsAllocated) // 8)}")


def _reader(
    slices: list[_Slice], lengths: dict[str, int], first: list[str], dtype: np.dtype[Any]
) -> Any:
    from pydicom.pixels.utils import pixel_array

    @lru_cache(maxsize=_KEPT)
    def whole(number: int) -> NDArray[Any]:
        one = slices[number]
        values = np.asarray(pixel_array(one.path, index=one.frame))
        if dtype == np.float32:
            values = values.astype(np.float32) * np.float32(one.slope) + np.float32(one.intercept)
        return values.astype(dtype, copy=False)

    def read(index: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        place = dict(zip(first, index, strict=True))
        return whole(place.get("z", 0) * lengths["t"] + place.get("t", 0))[rows, columns]

    return read


def _steps(slices: list[_Slice]) -> dict[str, float]:
    """Millimeters by axis, where the files tell; ``slices`` are one stack."""
    header = slices[0].header
    steps = {}
    if pixel := header.get("PixelSpacing") or header.get("ImagerPixelSpacing"):
        steps["y"], steps["x"] = float(pixel[0]), float(pixel[1])
    places = np.array([_place(one.header) for one in slices])
    known = header.get("ImagePositionPatient") is not None and len({s.path for s in slices}) > 1
    thick = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    if known:
        steps["z"] = float(np.median(np.diff(places)))
    elif thick:
        steps["z"] = float(thick)
    return steps
