"""What carrying objects through a stack costs: by plane, and by object and plane.

``python -m benchmarks.propagation`` draws a stack of round cells, labels all of them on the middle
plane, and propagates with the bundled model. Times are those of the processor (all threads), which
other work changes less than those of the clock; both are printed.
"""

import argparse
import resource
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sam import KeyPlane, PropagateParams, load_predictor, propagate_objects
from napari_sam.volume.image import ImageRef
from napari_sam.volume.propagation.memory import Memory
from napari_sam.volume.propagation.stack import open_embedder


def drawn(planes: int, side: int, objects: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Bright discs on a lattice that wobble from plane to plane, with noise; and their labels."""
    draw = np.random.default_rng(0)
    a_row = int(np.ceil(objects**0.5))
    step = side / a_row
    rows, columns = np.indices((side, side), np.float32)
    labels = np.zeros((planes, side, side), np.uint16)
    for plane in range(planes):
        for one in range(objects):
            y, x = ((one // a_row + 0.5) * step, (one % a_row + 0.5) * step)
            radius = step * (0.3 + 0.05 * np.sin(plane / 9 + one))
            y, x = y + 3 * np.sin(plane / 7 + one), x + 3 * np.cos(plane / 8 + 2 * one)
            labels[plane][(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = one + 1
    noise = draw.normal(40, 12, labels.shape).astype(np.float32)
    return np.clip(noise + 110 * (labels > 0), 0, 255).astype(np.uint8), labels


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.propagation")
    parser.add_argument("--planes", type=int, default=100)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--objects", type=int, default=50)
    options = parser.parse_args(arguments)
    image, truth = drawn(options.planes, options.side, options.objects)
    embedder = open_embedder(ImageRef.open(image), load_predictor(), "as_is", None, None)
    middle = options.planes // 2
    begun, used = time.perf_counter(), time.process_time()
    for tile in embedder.grid:
        embedder.tile(tile)
    encoding = time.process_time() - used
    print(f"encoding: {encoding / options.planes:.3f} s a plane of the processor,"
          f" {(time.perf_counter() - begun) / options.planes:.3f} s of the clock")  # fmt: skip
    key, memory = KeyPlane(middle, truth[middle]), Memory()
    for name in ("propagation", "again, with all answers known"):
        begun, used, found = time.perf_counter(), time.process_time(), np.zeros_like(truth)
        for step in propagate_objects(
            image, [key], params=PropagateParams(), embeddings=embedder, memory=memory
        ):
            for result in step.results:
                result.paint(found[result.plane])
        cost = time.process_time() - used
        masks = sum(len(np.unique(plane)) - 1 for plane in found)
        print(f"{name}: {masks} masks of {options.objects} objects on {options.planes} planes of"
              f" {options.side} x {options.side}: {1e3 * cost / max(1, masks):.1f} ms an object and"
              f" plane of the processor, {time.perf_counter() - begun:.1f} s of the clock;"
              f" right pixels {np.mean(found == truth):.4f}")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at most: {peak:,.0f} MB")


if __name__ == "__main__":
    main()
