"""What fine-tuning on a few labelled images brings on images that it has not seen.

The command: ``python -m benchmarks.finetune_gain PACK_TRAIN PACK_JUDGE``. The bundled model learns
from the first images of a data set; before and after it is asked about the objects of that data
set in the other pack. The same pack may be named twice: its other images judge then, which is how
settings are chosen without looking at images that are kept for the end.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

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
    given = parser.parse_args()
    params = with_flags(FinetuneParams(), given)
    training = choose(
        open_images(given.training), given.learn or [given.dataset], given.images, set()
    )
    known = {str(sample.item["id"]) for sample in training}
    judging = choose(open_images(given.judging), [given.dataset], given.judged, known)
    with tempfile.TemporaryDirectory() as own:
        gain = measure(training, judging, params, given.run or Path(own))
    print(to_markdown(gain, given.dataset))


if __name__ == "__main__":
    main()
