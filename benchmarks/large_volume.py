"""A 40,000 x 40,000 x 20 OME-Zarr of 16 bits that fits on a disk: sparse nuclei, all else is zero.

The command: ``python -m benchmarks.large_volume FOLDER``. Only chunks with something in them are
written; chunks of zeros need no file. The drawn nuclei are the same at each run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE, DEPTH, CHUNK, LEVELS = 40_000, 20, 1024, 6
PATCHES = 12  # places with something in them, a plane of which is a chunk
NUCLEI = 60  # of a place


def patch(seed: int) -> NDArray[np.uint16]:
    """(DEPTH, CHUNK, CHUNK): noise, and nuclei through some planes; some reach the edges."""
    rng = np.random.default_rng(seed)
    volume = rng.normal(300, 30, (DEPTH, CHUNK, CHUNK)).astype(np.float32)
    grid = np.indices((CHUNK, CHUNK), np.float32)
    for _ in range(NUCLEI):
        z, y, x = rng.uniform((3, 0, 0), (DEPTH - 3, CHUNK, CHUNK))
        height, high, wide = rng.uniform((2, 14, 14), (5, 34, 34))
        bright = rng.uniform(1500, 6000)
        rows, columns = (
            slice(max(0, int(at - size)), min(CHUNK, int(at + size) + 2))
            for at, size in ((y, high), (x, wide))
        )
        near = grid[:, rows, columns]
        far = ((near[0] - y) / high) ** 2 + ((near[1] - x) / wide) ** 2
        for plane in range(DEPTH):
            rest = 1 - ((plane - z) / height) ** 2
            if rest > 0:
                volume[plane, rows, columns] += bright * np.clip((rest - far) * 4, 0, 1)
    return np.clip(volume, 0, 65535).astype(np.uint16)


def corners(side: int = SIDE) -> list[tuple[int, int]]:
    """Where patches begin: spread over the plane, two of them side by side."""
    rng = np.random.default_rng(0)
    rows = side // CHUNK
    chosen = [(rows // 2, rows // 2), (rows // 2, rows // 2 + 1)]
    while len(chosen) < min(PATCHES, rows * rows):
        cell = tuple(int(n) for n in rng.integers(0, rows, 2))
        if cell not in chosen:
            chosen.append((cell[0], cell[1]))
    return [(y * CHUNK, x * CHUNK) for y, x in chosen]


def make(path: Path, *, side: int = SIDE) -> list[tuple[int, int]]:
    """Write the image; where its patches begin."""
    import zarr

    group = zarr.create_group(path, zarr_format=3)
    arrays: list[Any] = []
    datasets = []
    for level in range(LEVELS):
        length = -(-side // 2**level)
        arrays.append(
            group.create_array(
                str(level),
                shape=(DEPTH, length, length),
                chunks=(1, CHUNK, CHUNK),
                dtype="uint16",
                dimension_names=["z", "y", "x"],
            )
        )
        step = 0.25 * 2**level
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": [1.0, step, step]}],
            }
        )
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    multiscale = {"name": "nuclei", "axes": axes, "datasets": datasets}
    ome: Any = {"version": "0.5", "multiscales": [multiscale]}
    group.attrs["ome"] = ome
    places = corners(side)
    for number, (y, x) in enumerate(places):
        volume = patch(number)
        for level, array in enumerate(arrays):
            step = 2**level
            part = volume.reshape(DEPTH, CHUNK // step, step, CHUNK // step, step).mean((2, 4))
            rows, columns = (slice(at // step, (at + CHUNK) // step) for at in (y, x))
            array[:, rows, columns] = part.astype(np.uint16)
    return places


def main(arguments: Sequence[str] | None = None) -> None:
    """Make it, and say how large it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_volume")
    parser.add_argument("folder", type=Path, help="is made; must not be there")
    parser.add_argument("--side", type=int, default=SIDE)
    options = parser.parse_args(arguments)
    places = make(options.folder, side=options.side)
    size = sum(file.stat().st_size for file in options.folder.rglob("*") if file.is_file())
    voxels = options.side**2 * DEPTH
    print(f"{options.folder}: {voxels / 1e9:.1f} G voxels, {size / 1e6:.0f} MB on disk")
    print(f"nuclei are at (y, x) = {places}")


if __name__ == "__main__":
    main()
