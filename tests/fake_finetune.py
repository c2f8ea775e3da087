"""A program that behaves as ``napari-sam finetune --attended`` does, without a network.

``python fake_finetune.py NAME --run FOLDER --steps N ...``: it goes on where it was stopped, waits
while there is a file ``pause``, and ends when its standard input is closed.
"""

import argparse
import json
import os
import threading
import time
from pathlib import Path

from PIL import Image

from napari_sam.core.registered import register
from napari_sam.progress import Progress
from napari_sam.training.run_folder import (
    LOG,
    PAUSE,
    PICTURE,
    RESULT,
    VALIDATION_LOG,
    lock_of,
    write_json,
    write_progress,
)

STEP_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--steps", type=int)
    given, _ = parser.parse_known_args()
    left = threading.Event()
    threading.Thread(target=lambda: (os.read(0, 1), left.set()), daemon=True).start()
    with lock_of(given.run):
        train(given, left)


def train(given: argparse.Namespace, left: threading.Event) -> None:
    kept = given.run / "steps"
    begun = int(kept.read_text()) if kept.exists() else 0
    Image.new("RGB", (48, 32), (200, 0, 0)).save(given.run / PICTURE)
    for step in range(begun, given.steps):
        while (given.run / PAUSE).exists() and not left.is_set():
            time.sleep(STEP_S)
        if left.is_set():
            return
        time.sleep(STEP_S)
        kept.write_text(str(step + 1))
        append(given.run / LOG, f'{{"step": {step}, "seconds": {step}, "loss": {1 / (step + 1)}}}')
        append(given.run / VALIDATION_LOG, line_of(step))
        write_progress(given.run, Progress(step + 1, given.steps, f"step {step + 1}"))
    weights = given.run / "weights.safetensors"
    weights.write_bytes(b"weights")
    register(given.name, weights, like="tiny", replace_old=True)
    before = {"click": 0.5, "box": 0.6, "last_click": 0.7}
    after = {"click": 0.6, "box": 0.65, "last_click": 0.7}
    write_json(given.run / RESULT, {"name": given.name, "before": before, "after": after})


def line_of(step: int) -> str:
    value = 1 - 1 / (step + 2)
    said = {"step": step, "seconds": step, "click": value, "box": value, "last_click": 1}
    return json.dumps(said)


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
