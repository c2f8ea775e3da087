"""How long a user waits: for the first click after starting, for the first on an image, for later.

Each cold figure is from a new process; warm ones from one process, after one click that is not
counted. The images are the shipped sample, repeated to 512 x 512 and 2048 x 2048 pixels.

    python benchmarks/first_click.py [--model tiny] [--weights FILE] [--threads 2] [--repeats 3]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

SIZES = (512, 2048)
LATER_CLICKS = 30


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="new processes for each cold figure")
    parser.add_argument("--child", type=int, metavar="SIZE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.model, options.weights)))
        return

    print(describe_machine(options.threads))
    print(f"model {options.model}; seconds; cold: best and worst of {options.repeats} processes\n")
    print("| image | cold: start to mask | of it: imports | model | image | click "
          "| warm: new image + click | later click p50 | p95 |")  # fmt: skip
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for size in SIZES:
        runs = [run_child(size, options.threads) for _ in range(options.repeats)]
        print(row(size, sorted(runs, key=lambda run: run["total"])), flush=True)


def run_child(size: int, threads: int) -> dict[str, Any]:
    """Start a new process and time it from the outside, up to its first mask."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "STARTED": repr(time.time())}
    command = [sys.executable, __file__, *sys.argv[1:], "--child", str(size)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


def measure(size: int, model: str, weights: Path | None) -> dict[str, Any]:
    """In a new process: the cold times, then the warm ones."""
    started = float(os.environ["STARTED"])
    marks = [time.time()]

    import napari_sam
    from napari_sam.core.predictor import load_predictor

    image, spots = make_image(size)
    marks.append(time.time())
    predictor = load_predictor(model, weights=weights, device="cpu")
    marks.append(time.time())
    embedding = predictor.encode(image)
    marks.append(time.time())
    click(napari_sam, predictor, embedding, spots[0])
    marks.append(time.time())

    fresh, later = [], []
    for _ in range(3):
        before = time.perf_counter()
        embedding = predictor.encode(image)
        click(napari_sam, predictor, embedding, spots[1])
        fresh.append(time.perf_counter() - before)
    for i in range(LATER_CLICKS):
        before = time.perf_counter()
        click(napari_sam, predictor, embedding, spots[i % len(spots)])
        later.append(time.perf_counter() - before)
    return {
        "total": marks[-1] - started,
        "parts": [after - before for before, after in pairwise(marks)],
        "fresh": min(fresh),
        "later": sorted(later),
    }


def click(napari_sam: Any, predictor: Any, embedding: Any, spot: tuple[float, float]) -> None:
    """What one click costs: three candidates, and the best one at the image's size."""
    prompts = napari_sam.Prompts(points=[[spot]], point_labels=[[1]])
    predictor.decode(embedding, prompts, multimask=True).mask(0)


def make_image(size: int) -> tuple[Any, list[tuple[float, float]]]:
    """A square image of nuclei, and positions inside some of them."""
    import numpy as np

    from napari_sam._sample_data import SAMPLES

    sample = SAMPLES["nuclei_fluorescence"]
    picture, labels = sample.read_image(), sample.read_labels()
    repeats = [-(-size // side) for side in picture.shape]
    image = np.tile(picture, repeats)[:size, :size]
    inside = np.argwhere(labels[:400, :400] > 0)
    chosen = inside[:: len(inside) // LATER_CLICKS][:LATER_CLICKS]
    return image, [(float(y), float(x)) for y, x in chosen]


def row(size: int, runs: list[dict[str, Any]]) -> str:
    """One line of the table: parts, warm and later figures of the best run."""
    best, worst = runs[0], runs[-1]
    later = best["later"]
    cells = [
        f"{size} x {size}",
        f"{best['total']:.2f} to {worst['total']:.2f}",
        *(f"{part:.2f}" for part in best["parts"]),
        f"{best['fresh']:.2f}",
        f"{later[len(later) // 2]:.3f}",
        f"{later[int(len(later) * 0.95)]:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def describe_machine(threads: int) -> str:
    """What the figures depend on."""
    from importlib.metadata import version

    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {threads} threads,"
        f" Python {platform.python_version()}, torch {version('torch')}"
    )


if __name__ == "__main__":
    main()
