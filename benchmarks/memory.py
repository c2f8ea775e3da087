"""Memory of segmenting volumes of 1, 4 and 16 times a size: a table and a picture of the curves.

``python -m benchmarks.memory --out docs/manual/figures``. Each volume has a process of its own; its
memory is read at each step. Squares are drawn instead of asking a model, so that only what the
volume costs is seen: reading, tiles, stitching and the labels with their pyramid.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.core.params import AutomaticParams
from napari_sam.progress import Progress
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob, segment_volume, stitch_volume
from napari_sam.volume.run import run
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import Tile

Curve = list[tuple[float, float]]
SIDE, TILE, HALO = 1024, 448, 32
PITCH, SQUARE = 96, 56
CASES = {
    "deeper": [(2, 1), (8, 1), (32, 1)],
    "wider": [(2, 1), (2, 2), (2, 4)],
}
"""Planes, and how many times 1024 a side: 1, 4 and 16 times as many voxels."""
COLOURS = ("#0b7285", "#f08c00", "#c2255c")
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 180, 60, 40, 90


@dataclass(frozen=True)
class Nobody:
    """A model that is never asked."""

    def load(self) -> Any:
        """Nothing."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """For the manifest."""
        return {"name": "squares", "weights_sha256": "none"}


@dataclass(frozen=True)
class Squares:
    """Work: squares at the same places of the plane in each tile that sees them."""

    image: ImageRef
    intensity: VolumeIntensity

    def __call__(self, tile: Tile) -> dict[str, np.ndarray]:
        """Labels of the read region, which is read and brought to 8 bit as for a model."""
        self.intensity.picture(self.image.read(tile.plane, tile.read))
        y, x = (np.arange(side.start, side.stop) for side in tile.read)
        inside = (y % PITCH < SQUARE)[:, None] & (x % PITCH < SQUARE)
        numbers = (y // PITCH - y[0] // PITCH)[:, None] * 64 + (x // PITCH - x[0] // PITCH) + 1
        return {"labels": np.where(inside, numbers, 0).astype(np.uint32)}


def drawn(work: Any, store: TileStore) -> Generator[Progress, None, None]:
    """The serial runner, with squares for what a model would find."""
    return run(Squares(work.image, work.intensity), store)


def segment(depth: int, times: int) -> Curve:
    """Segment a volume; (share of the steps, MB) after each step."""
    import zarr

    side = SIDE * times
    with tempfile.TemporaryDirectory() as folder:
        array = zarr.create_array(
            Path(folder) / "image.zarr", shape=(depth, side, side), chunks=(1, 512, 512),
            dtype="uint16",
        )  # fmt: skip
        piece = np.random.default_rng(0).integers(0, 4000, (512, 512)).astype("uint16")
        for z in range(depth):
            for y, x in np.ndindex(side // 512, side // 512):
                array[z, y * 512 : y * 512 + 512, x * 512 : x * 512 + 512] = piece
        image = ImageRef.open(Path(folder) / "image.zarr")
        job = VolumeJob(image, VolumeIntensity(((0.0, 4000.0),)), Nobody(), TILE, HALO)
        curve: Curve = []
        params = AutomaticParams()
        steps = segment_volume(job, Path(folder) / "tiles", params=params, runner=drawn)
        store = _follow(steps, curve, 0.0)
        _follow(stitch_volume(store, image, Path(folder) / "labels.zarr", "a"), curve, 0.5)
    return curve


def _follow(job: Any, curve: Curve, begun: float) -> Any:
    """Run a job that is half of it all; memory after each step."""
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            return end.value
        curve.append((begun + 0.5 * step.done / max(1, step.total), megabytes()))


def megabytes() -> float:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def to_svg(curves: dict[str, list[Curve]]) -> str:
    """One panel for each way to grow; all with the same scale, which begins at 0."""
    most = max(mb for panel in curves.values() for curve in panel for _, mb in curve) * 1.1
    width, height = LEFT + (WIDTH + GAP) * len(curves), TOP + HEIGHT + 70
    parts = [_panel(i, name, panel, most) for i, (name, panel) in enumerate(curves.items())]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="12">\n<rect width="{width}" height="{height}"'
        ' fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(number: int, name: str, curves: list[Curve], most: float) -> str:
    left = LEFT + number * (WIDTH + GAP)
    parts = [
        f'<text x="{left}" y="{TOP - 14}" font-weight="bold">{name}: MB while it runs</text>',
        f'<path d="M{left} {TOP}V{TOP + HEIGHT}H{left + WIDTH}" fill="none" stroke="black"/>',
    ]
    for mb in range(0, int(most), 100):
        y = TOP + HEIGHT * (1 - mb / most)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{mb}</text>')
    for i, (curve, colour, times) in enumerate(zip(curves, COLOURS, (1, 4, 16), strict=True)):
        step = max(1, len(curve) // 150)
        points = " ".join(
            f"{left + WIDTH * share:.1f},{TOP + HEIGHT * (1 - mb / most):.1f}"
            for share, mb in [*curve[::step], curve[-1]]
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        x, y = left + i * 80, TOP + HEIGHT + 24
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{times} x the size</text>')
    parts.append(f'<text x="{left}" y="{TOP + HEIGHT + 44}">tiles, then stitching</text>')
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all sizes, print the table and write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(segment(*options.one)))
        return
    curves: dict[str, list[Curve]] = {}
    print("| volume | tiles and stitching, peak MB | over the start |\n|---|--:|--:|")
    for name, cases in CASES.items():
        for depth, times in cases:
            command = [sys.executable, "-m", "benchmarks.memory", "--one", str(depth), str(times)]
            told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            curve = [(share, mb) for share, mb in json.loads(told)]
            curves.setdefault(name, []).append(curve)
            peak, start = max(mb for _, mb in curve), curve[0][1]
            side = SIDE * times
            print(
                f"| {name}: {depth} x {side} x {side} | {peak:.0f} | {peak - start:.0f} |",
                flush=True,
            )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "memory.svg").write_text(to_svg(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
