"""How far the masks of a faster precision are from the exact ones.

The command: ``python -m napari_sam.evaluation.precisions IMAGES``. Each object gets a click and a
box; both models answer the same prompts. Knows packs, prompts and masks; measures no time.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from napari_sam.core.predictor import load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.core.runtime import Precision
from napari_sam.evaluation.clicks import first_click, tight_box
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.interactive import Segmenter, choose_objects
from napari_sam.evaluation.metrics import iou
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.sources import Source, open_images

PLANES = 5  # of a stack
CLOSE = 0.95  # IoU that 99 % of the masks are to reach


@dataclass(frozen=True)
class Agreement:
    """Masks of one group of images.

    Attributes
    ----------
    ious
        Of each mask with the exact model's, for the candidate that the exact model scores best.
    same_choice
        Of each click: whether both models score the same candidate best.
    """

    ious: tuple[float, ...] = ()
    same_choice: tuple[bool, ...] = ()

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.ious + other.ious, self.same_choice + other.same_choice)


def agree(
    exact: Segmenter, other: Segmenter, sample: Sample, params: EvaluationParams
) -> Agreement:
    """Both models on the chosen objects of one image; empty where there is none."""
    labels = choose_objects(sample.labels, sample.name, params)
    if not labels:
        return Agreement()
    truths = [sample.labels == label for label in labels]
    clicks = [first_click(truth) for truth in truths]
    points = Prompts(
        points=[[(click.y, click.x)] for click in clicks], point_labels=[[1]] * len(clicks)
    )
    boxes = Prompts(boxes=[tight_box(truth) for truth in truths])
    models = [(model, model.encode(sample.picture, intensity="as_is")) for model in (exact, other)]
    clicked, again = (model.decode(seen, points, multimask=True) for model, seen in models)
    boxed, reboxed = (model.decode(seen, boxes, multimask=False) for model, seen in models)
    best = clicked.best()
    ious = [iou(clicked.mask(i, int(j)), again.mask(i, int(j))) for i, j in enumerate(best)]
    ious += [iou(boxed.mask(i, 0), reboxed.mask(i, 0)) for i in range(len(labels))]
    return Agreement(tuple(ious), tuple((best == again.best()).tolist()))


def agree_on_all(
    exact: Segmenter,
    other: Segmenter,
    source: Source,
    params: EvaluationParams,
) -> Iterator[tuple[str, Agreement]]:
    """Name of the data set and agreement, plane by plane.

    Raises
    ------
    ImageError
        An image cannot be read.
    """
    for item in source.items:
        for sample in source.planes(item, PLANES):
            yield sample.dataset, agree(exact, other, sample, params)


def row(name: str, found: Agreement) -> str:
    """A line of the table that :func:`main` prints."""
    ious = np.array(found.ious)
    return (
        f"| {name} | {len(ious)} | {ious.mean():.4f} | {(ious >= CLOSE).mean():.2%}"
        f" | {ious.min():.3f} | {np.mean(found.same_choice):.2%} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table: a line a data set, and the total."""
    parser = argparse.ArgumentParser(prog="python -m napari_sam.evaluation.precisions")
    parser.add_argument("images", type=Path, help="labelled images, as for napari-sam evaluate")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", type=Path, help="local file instead of the registered one")
    choices = [one for one in get_args(Precision) if one != "exact"]
    parser.add_argument("--precision", choices=choices, default="fast")
    parser.add_argument("--dataset", action="append", help="default: all; may be given again")
    parser.add_argument("--objects", type=int, default=10, help="of an image at most")
    options = parser.parse_args(arguments)
    exact, other = (
        load_predictor(options.model, weights=options.weights, precision=precision)
        for precision in ("exact", options.precision)
    )
    say(f"{exact.runtime.describe()} against {other.runtime.describe()}\n")
    by_dataset: dict[str, Agreement] = {}
    for name, found in agree_on_all(
        exact,
        other,
        open_images(options.images).only(tuple(options.dataset or ())),
        EvaluationParams(objects_per_image=options.objects),
    ):
        by_dataset[name] = by_dataset.get(name, Agreement()) + found
    say("| data set | masks | mean IoU | IoU >= 0.95 | least | same choice of three |")
    say("|---|---|---|---|---|---|")
    for name, found in by_dataset.items():
        if found.ious:
            say(row(name, found))
    say(row("**all**", sum(by_dataset.values(), Agreement())))


if __name__ == "__main__":
    main()
