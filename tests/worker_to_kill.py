"""A nursery: forks one worker a seed, which does random work with a journal, and kills it.

Arguments: a folder, how many. Prints for each worker: its seed and how many lines it had reported.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from napari_sam._journal import Journal, Source
from tests.random_work import SHAPE, do_something, new_document


class Reporting(Journal):
    """Reports each line once the step is over."""

    def _write(self, value):
        super()._write(value)
        assert not self.failed
        os.write(self.pipe, b".")


def work(path, seed, pipe):
    document, rng = new_document(), random.Random(seed)
    document.recorder = journal = Reporting(Source("image", shape=SHAPE), path)
    journal.pipe = pipe
    while True:
        do_something(document, rng)


def main(folder, count):
    for seed in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            work(folder / f"{seed}.jsonl", seed, writing)
        os.close(writing)
        reported = len(os.read(reading, 1))
        time.sleep(random.Random(seed + 1).random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while chunk := os.read(reading, 65536):
            reported += len(chunk)
        os.close(reading)
        print(seed, reported, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
