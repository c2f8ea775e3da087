"""Which rule makes the best prompts of the scribbles of people: the dock's, beside others.

The command: ``python -m napari_sam.evaluation.scribble_rules PACK``. Takes the images of a pack
that have scribbles. Measures no time.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.predictor import ImageEmbedding, MaskPrediction, load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.core.strokes import LEAST_STEP, MASK_LOGIT, MOST_POINTS, spread
from napari_sam.errors import ImageError
from napari_sam.evaluation.clicks import first_click
from napari_sam.evaluation.datasets import Sample, read_item, read_manifest
from napari_sam.evaluation.interactive import Segmenter
from napari_sam.evaluation.metrics import Mask, iou
from napari_sam.evaluation.scribbles import Strokes, read_strokes

COUNTS = (1, 3, 6, 12, 24, 32)  # points of the scribbles of a sign
MOST = f"{MOST_POINTS} + {MOST_POINTS} points"
RULE = f"{MOST}, then its answer as mask prompt"  # the dock's


def read_scribbles(pack: Path) -> Iterator[tuple[Sample, list[Strokes]]]:
    """The images of a pack that have scribbles, each with those of all people.

    Raises
    ------
    ImageError
        The pack has none.
    """
    items = [item for item in read_manifest(pack)["items"] if item.get("scribbles")]
    if not items:
        raise ImageError(f"{pack} has no image with scribbles.")
    for item in items:
        (sample,) = read_item(pack, item)
        yield sample, read_strokes(replace(sample, root=pack))


def evaluate_scribbles(
    model: Segmenter, sample: Sample, drawn: Sequence[Strokes]
) -> dict[str, list[float]]:
    """IoU by rule, a number for each person."""
    embedding = model.encode(sample.picture, intensity="as_is")
    truth = sample.labels > 0
    found: dict[str, list[float]] = {}
    for strokes in drawn:
        for rule, mask in _answers(model, embedding, strokes, truth):
            found.setdefault(rule, []).append(iou(mask, truth))
    return found


def _answers(
    model: Segmenter, embedding: ImageEmbedding, drawn: Strokes, truth: Mask
) -> Iterator[tuple[str, Mask]]:
    def ask(count: int, *, negative: bool = True, mask: Any = None) -> MaskPrediction:
        return model.decode(embedding, _prompts(drawn, count, negative, mask), multimask=False)

    yield "the positive scribble itself", drawn.positive
    click = first_click(truth)
    one = Prompts(points=[[(click.y, click.x)]], point_labels=[[1]])
    yield "one click in the middle, best of three", model.decode(embedding, one).mask(0)
    yield f"{MOST_POINTS} points, positive only", ask(MOST_POINTS, negative=False).mask(0)
    for count in COUNTS:
        answer = ask(count)
        yield f"{count} + {count} points", answer.mask(0)
    answer = ask(MOST_POINTS)
    again = ask(MOST_POINTS, mask=answer.low_res_logits[:, 0])
    yield RULE, again.mask(0)
    painted = np.where(drawn.positive, MASK_LOGIT, np.where(drawn.negative, -MASK_LOGIT, 0.0))
    yield f"{MOST}, and the scribbles as mask prompt", ask(MOST_POINTS, mask=painted[None]).mask(0)
    over = np.where(painted == 0, answer.logits(0, 0), painted)
    yield (
        f"{MOST}, then its answer with the scribbles painted on",
        ask(MOST_POINTS, mask=over[None]).mask(0),
    )


def _prompts(
    drawn: Strokes, count: int, negative: bool, mask: NDArray[np.float32] | None
) -> Prompts:
    step = max(drawn.positive.shape) * LEAST_STEP
    signed = [(drawn.positive, 1), *([(drawn.negative, 0)] if negative else [])]
    points: list[Any] = []
    labels: list[int] = []
    for pixels, sign in signed:
        if pixels.any():
            chosen = spread(np.argwhere(pixels), most=count, least_distance=step)
            points += chosen.tolist()
            labels += [sign] * len(chosen)
    return Prompts(points=[points], point_labels=[labels], mask_logits=mask)


def table(found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """The numbers as lines of Markdown."""
    yield "| rule | mean IoU | median | scribbles |"
    yield "|---|---|---|---|"
    for rule, values in found.items():
        name = f"**{rule}**" if rule == RULE else rule
        yield f"| {name} | {np.mean(values):.3f} | {np.median(values):.3f} | {len(values)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args(arguments)
    model = load_predictor(options.model)
    found: dict[str, list[float]] = {}
    for sample, drawn in read_scribbles(options.pack):
        for rule, values in evaluate_scribbles(model, sample, drawn).items():
            found.setdefault(rule, []).extend(values)
    for line in table(found):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
