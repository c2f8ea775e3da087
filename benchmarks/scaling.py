"""What a volume of 1 TB costs on 1, 16 and 256 workers: measured parts, then a simulation.

``python -m benchmarks.scaling`` measures on this machine what a tile takes, what the scheduler does
for one task, what stitching costs and how many bytes a tile has; then it plays the job: one
scheduler that handles tasks one after the other, workers whose tiles take unequal times and that
die now and then. Times are those of the processor, which other work changes less; a worker has one
core. Nobody ran 1 TB.
"""

import argparse
import heapq
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.memory import Nobody, drawn
from benchmarks.models import weights_file
from benchmarks.scenes import picture
from napari_sam.core.params import AutomaticParams
from napari_sam.core.predictor import Predictor, load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams, link_planes
from napari_sam.volume.overlaps import Overlaps
from napari_sam.volume.pipelines import VolumeJob, embed_volume, segment_volume, stitch_volume
from napari_sam.volume.tiles import TileGrid, usual_tiles

POINTS, BATCH = 1024, 64
TASKS = 2000
WORKERS = (1, 16, 256)
SPREAD = 0.3  # of the times of tiles: standard deviation of their logarithm
DEATHS = 1 / 5000  # of a worker, for each tile
RESTART_S = 60.0
BYTES = 1e12


@dataclass(frozen=True)
class Costs:
    """What was measured: seconds and bytes of one tile."""

    encode_s: float
    decode_s: float
    task_s: float
    stitch_s: float
    link_s: float
    read: int
    embedding: int


def best_of(times: int, call: object) -> float:
    """Seconds of the processor, all threads together: the least of some runs."""
    assert callable(call)
    taken = []
    for _ in range(times):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def tile_seconds(predictor: Predictor, side: int) -> tuple[float, float]:
    """Encoding a tile; asking it a grid of 32 x 32 points (masks at low resolution)."""
    import torch

    torch.set_num_threads(1)
    seen = picture((side, side))
    embedding = predictor.encode(seen, intensity="as_is")
    points = np.random.default_rng(0).uniform(0, side, (BATCH, 1, 2))
    prompts = Prompts(points=points, point_labels=np.ones((BATCH, 1), int))
    encode = best_of(3, lambda: predictor.encode(seen, intensity="as_is"))
    decode = best_of(3, lambda: predictor.decode(embedding, prompts))
    return encode, decode * POINTS / BATCH


def task_seconds() -> float:
    """What client, scheduler and worker spend on a task that does nothing, in one process."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        return best_of(2, lambda: client.gather(client.map(abs, range(TASKS), pure=False))) / TASKS


def stitch_seconds(tile: int, halo: int) -> float:
    """Stitching and linking, for each tile, with about a hundred objects in it."""
    data = np.zeros((2, 2 * tile, 2 * tile), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        job = VolumeJob(ImageRef.open(data), VolumeIntensity(None), Nobody(), tile, halo)
        steps = segment_volume(job, Path(folder) / "tiles", params=AutomaticParams(), runner=drawn)
        store = finish(steps)
        start = time.process_time()
        finish(stitch_volume(store, job.image, Path(folder) / "labels.zarr", "a"))
        return (time.process_time() - start) / len(store)


def link_seconds() -> float:
    """What only one process does of it: linking planes, for each tile with a hundred objects."""
    count, planes = 50_000, 20
    numbers = np.arange(1, count)
    areas = [np.full(count, 100) for _ in range(planes)]
    same = Overlaps(numbers, numbers, np.full(count - 1, 80))
    pairs = {(z, z + 1): same for z in range(planes - 1)}
    taken = best_of(2, lambda: link_planes(areas, pairs, LinkParams()))
    return taken / (planes * count / 100)


@dataclass(frozen=True)
class Loaded:
    """A predictor that is here already, as a source."""

    predictor: Predictor

    def load(self) -> Predictor:
        """It."""
        return self.predictor

    def identity(self) -> dict[str, object]:
        """For the manifest."""
        return {"name": self.predictor.spec.name, "weights_sha256": "seeded"}


def embedding_bytes(predictor: Predictor, side: int) -> int:
    """Of one tile on disk, float16."""
    seen = picture((side, side))[..., 0]
    with tempfile.TemporaryDirectory() as folder:
        job = VolumeJob(ImageRef.open(seen), VolumeIntensity(None), Loaded(predictor), side, 0)
        store = finish(embed_volume(job, Path(folder) / "tiles"))
        return store.bytes_on_disk()


def simulate(tiles: int, workers: int, tile_s: float, task_s: float) -> tuple[float, float]:
    """(hours, share of the time in which workers compute)."""
    rng = random.Random(0)
    free = [0.0] * workers
    handled = computed = 0.0
    mean = -(SPREAD**2) / 2  # so that the mean time is tile_s
    for _ in range(tiles):
        handled += task_s
        start = max(free[0], handled)
        took = tile_s * rng.lognormvariate(mean, SPREAD)
        computed += took
        if rng.random() < DEATHS:  # in the middle: another one makes it again
            took += took / 2 + RESTART_S
        heapq.heapreplace(free, start + took)
    end = max(free)
    return end / 3600, computed / (end * workers)


def measure(model: str, precision: str, folder: Path) -> Costs:
    """All parts, on this machine."""
    predictor = load_predictor(
        model, weights=weights_file(model, folder), device="cpu", precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    seen = predictor.spec.image_size
    encode, decode = tile_seconds(predictor, seen)
    side, halo = usual_tiles(seen)
    return Costs(
        encode, decode, task_seconds(), stitch_seconds(side, halo), link_seconds(), seen * seen * 2,
        embedding_bytes(predictor, seen),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--model", default="vit_b")
    parser.add_argument("--precision", default="fast", choices=("exact", "fast"))
    parser.add_argument("--folder", type=Path, default=Path("out/bench/weights"))
    parser.add_argument("--tile-seconds", type=float, help="of another machine, such as a GPU")
    options = parser.parse_args(arguments)
    costs = measure(options.model, options.precision, options.folder)
    seen = load_spec_size(options.model)
    side, halo = usual_tiles(seen)
    edge = 10_000
    grid = TileGrid((1, int(BYTES / 2 / edge**2), edge, edge), side, halo)
    tile_s = options.tile_seconds or costs.encode_s + costs.decode_s
    print(f"a tile: encode {costs.encode_s:.2f} s, 32 x 32 points {costs.decode_s:.2f} s"
          f" ({options.model}, {options.precision}); a task {costs.task_s * 1e3:.2f} ms;"
          f" stitching {costs.stitch_s:.3f} s,"
          f" {costs.link_s * 1e3:.2f} ms of it in one process")  # fmt: skip
    print(f"1 TB of uint16, planes of {edge} x {edge}: {len(grid):,} tiles (tasks) of {side} + 2 x"
          f" {halo}; read {len(grid) * costs.read / 1e12:.1f} TB, embeddings"
          f" {len(grid) * costs.embedding / 1e12:.1f} TB if they are kept\n")  # fmt: skip
    titles = "tiles, h", "workers busy", "tasks a second", "scheduler busy", "stitching, h"
    print("| workers of one core |", " | ".join(titles), "|")
    print("|--:|--:|--:|--:|--:|--:|")
    for workers in WORKERS:
        hours, busy = simulate(len(grid), workers, tile_s, costs.task_s)
        rate = len(grid) / hours / 3600
        # Cut into planes, of which there are far more than workers.
        stitching = len(grid) * (costs.stitch_s / workers + costs.link_s) / 3600
        print(f"| {workers} | {hours:,.0f} | {busy:.0%} | {rate:.1f} | {rate * costs.task_s:.1%} |"
              f" {stitching:.1f} |", flush=True)  # fmt: skip


def load_spec_size(model: str) -> int:
    """Pixels a side that a model sees at once."""
    from napari_sam.core.registry import get_spec

    return get_spec(model).image_size


if __name__ == "__main__":
    main()
