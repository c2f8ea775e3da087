"""What fine-tuning on a few labelled images brings on images that it has not seen.

The command: ``python -m benchmarks.finetune_gain PACK_TRAIN PACK_JUDGE``. The bundled model learns
from the first images of a data set; before and after it is asked about the objects of that data
set in the other pack. The same pack may be named twice: its other images judge then, which is how
settings are chosen without looking at images that are kept for the end.

``--parts 4`` is for the user's usual case, more images of one's own microscope: each judging image
is cut into 4 x 4 parts, five of them teach and the others judge::

    python -m benchmarks.finetune_gain PACK PACK --dataset axon_sem --parts 4
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from napari_sam.core.predictor import load_predictor
from napari_sam.core.registered import FOLDER_VARIABLE
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.interactive import ObjectResult, evaluate_sample
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.sources import Source, open_images
from napari_sam.progress import finish
from napari_sam.training.finetune import FinetuneResult, fine_tune
from napari_sam.training.flags import add_flags, with_flags
from napari_sam.training.params import FinetuneParams
from napari_sam.training.validation import Figures

NAME = "finetuned"
PLANES = 1  # of a stack


@dataclass(frozen=True)
class Gain:
    """Figures on the images that judge, before and after; and how it was come by.

    Attributes
    ----------
    before, after
        Of the same objects.
    minutes, cpu_minutes
        Of the clock, from the first step to the registered model, and of processors: on a machine
        that others use as well the first says little.
    result
        What fine-tuning itself says.
    judged_on
        Names of the images.
    """

    before: Figures
    after: Figures
    minutes: float
    cpu_minutes: float
    result: FinetuneResult
    judged_on: tuple[str, ...]


def measure(
    training: list[Sample], judging: list[Sample], params: FinetuneParams, folder: Path
) -> Gain:
    """Fine-tune and judge; models registered meanwhile lie in the folder."""
    os.environ[FOLDER_VARIABLE] = str(folder / "models")
    judged = EvaluationParams(clicks=3)
    before = _figures(DEFAULT_MODEL, judging, judged)
    began, worked = time.monotonic(), time.process_time()
    result = finish(fine_tune(training, NAME, folder / "run", params))
    minutes, cpu = (time.monotonic() - began) / 60, (time.process_time() - worked) / 60
    after = before if result.spec is None else _figures(NAME, judging, judged)
    return Gain(before, after, minutes, cpu, result, tuple(s.name for s in judging))


def choose(source: Source, names: list[str], most: int, without: set[str]) -> list[Sample]:
    """The first images whose names begin so, but for some."""
    items = [item for item in source.only(tuple(names)).items if item["id"] not in without]
    return [sample for item in items[:most] for sample in source.planes(item, PLANES)]


def cut(sample: Sample, parts: int, least_area: int) -> list[Sample]:
    """Equal parts of an image, row by row; objects that a cut leaves too small are dropped."""
    rows, columns = (np.linspace(0, n, parts + 1).astype(int) for n in sample.labels.shape)
    made = []
    for row, (top, bottom) in enumerate(pairwise(rows)):
        for column, (left, right) in enumerate(pairwise(columns)):
            window = (slice(top, bottom), slice(left, right))
            labels = sample.labels[window].copy()
            labels[np.bincount(labels.ravel())[labels] < least_area] = 0
            if labels.any():
                name = f"{sample.name} part {row},{column}"
                made.append(
                    replace(sample, name=name, picture=sample.picture[window], labels=labels)
                )
    return made


def deal(samples: list[Sample], teaching: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """So many of the samples by lot, and all others."""
    order = np.random.default_rng(seed).permutation(len(samples))
    shuffled = [samples[index] for index in order]
    return shuffled[:teaching], shuffled[teaching:]


def to_markdown(gain: Gain, dataset: str) -> str:
    """The table of before and after, in points of IoU."""
    lines = [
        f"{dataset}: {gain.before.objects} objects of {len(gain.judged_on)} images that took no"
        f" part; {gain.minutes:.1f} minutes, {gain.cpu_minutes:.1f} minutes of processors; best"
        f" weights at step {gain.result.step}.",
        "",
        "| mean IoU | before | after | points |",
        "|---|---|---|---|",
    ]
    for title, name in (("1 click", "click"), ("3 clicks", "last_click"), ("box", "box")):
        before, after = getattr(gain.before, name), getattr(gain.after, name)
        lines.append(f"| {title} | {before:.3f} | {after:.3f} | {100 * (after - before):+.1f} |")
    return "\n".join([*lines, "", "On the image set aside:", "", gain.result.to_markdown()])


def _figures(model: str, samples: list[Sample], params: EvaluationParams) -> Figures:
    predictor = load_predictor(model)
    results: list[ObjectResult] = []
    for sample in samples:
        results += evaluate_sample(predictor, sample, params)
    return Figures.of(results)


def _packs(given: argparse.Namespace) -> tuple[list[Sample], list[Sample]]:
    """Images that teach, from the one pack, and images that judge, from the other."""
    training = choose(
        open_images(given.training), given.learn or [given.dataset], given.images, set()
    )
    known = {str(sample.item["id"]) for sample in training}
    judging = choose(open_images(given.judging), [given.dataset], given.judged, known)
    return training, judging


def _parted(given: argparse.Namespace) -> tuple[list[Sample], list[Sample]]:
    """Parts that teach and parts that judge, of the same images."""
    whole = choose(open_images(given.judging), [given.dataset], given.judged, set())
    least = EvaluationParams().least_area
    parts = [part for sample in whole for part in cut(sample, given.parts, least)]
    teaching, judging = deal(parts, given.images, given.lot)
    return teaching, judging[: given.judged]


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", type=Path, help="a pack, or a folder of labelled images")
    parser.add_argument("judging", type=Path, help="the same, or another")
    parser.add_argument("--dataset", default="usiigaci", help="how the names of its images begin")
    parser.add_argument("--learn", nargs="+", help="only from images whose names begin so")
    parser.add_argument("--images", type=int, default=5, help="to learn from")
    parser.add_argument("--judged", type=int, default=20, help="to judge by, at most")
    parser.add_argument("--run", type=Path, help="folder of the run. Default: one that is deleted")
    add_flags(parser, FinetuneParams)
    parser.add_argument("--parts", type=int, help="cut judging images; some parts teach")
    parser.add_argument("--lot", type=int, default=0, help="seed that chooses the parts")
    given = parser.parse_args()
    params = with_flags(FinetuneParams(), given)
    training, judging = _parted(given) if given.parts else _packs(given)
    with tempfile.TemporaryDirectory() as own:
        gain = measure(training, judging, params, given.run or Path(own))
    print(to_markdown(gain, given.dataset))


if __name__ == "__main__":
    main()
