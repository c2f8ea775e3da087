"""How much of the full point grid's recall an adaptive grid keeps, and with how many prompts.

The model is asked the full grid once an image; the adaptive grid is then replayed over the answers,
which is what it would have got itself. The command: ``python -m napari_sam.evaluation.grids PACK``.
Knows packs, grids and masks; measures no time.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.automatic import (
    Crop,
    EncodesAndDecodes,
    collect,
    make_grid,
    select,
    walk,
)
from napari_sam.core.candidates import Candidates
from napari_sam.core.masks import MaskRecord
from napari_sam.core.params import AutomaticParams
from napari_sam.core.predictor import load_predictor
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.evaluation.datasets import Sample, read_pack
from napari_sam.progress import finish

SAME = 0.5  # IoU from which on two masks are of one object
DATASETS = ("dsb2018", "stardist")
EVERY_PLANE = 10  # of stacks


@dataclass(frozen=True)
class Share:
    """A count and what it is a part of; shares of several images add up."""

    part: int = 0
    whole: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.part + other.part, self.whole + other.whole)

    @property
    def value(self) -> float:
        """0 to 1; 1 of nothing."""
        return self.part / self.whole if self.whole else 1.0


@dataclass(frozen=True)
class Comparison:
    """Counts of one image or of several: they add up.

    Attributes
    ----------
    objects
        Labelled objects.
    found
        Objects that the adaptive grid finds (a mask of its final selection has IoU >= 0.5), of
        those that the full grid finds.
    again
        Masks of the full grid's final selection that the adaptive grid's has, too.
    prompts
        Points that the adaptive grid asked, of those that there are.
    """

    objects: int = 0
    found: Share = Share()
    again: Share = Share()
    prompts: Share = Share()

    def __add__(self, other: "Comparison") -> "Comparison":
        names = [field.name for field in fields(self)]
        return Comparison(**{name: getattr(self, name) + getattr(other, name) for name in names})


def compare(sample: Sample, full: Candidates, params: AutomaticParams) -> Comparison:
    """Both grids on one image.

    Parameters
    ----------
    sample
        Picture and labels.
    full
        What :func:`~napari_sam.core.automatic.collect` found with the full grid and ``params``.
    params
        Settings of both; ``adaptive`` has no say, and there must be no crops.
    """
    replayed = replay(sample.picture, full, params)
    everything, fewer = select(full, params), select(replayed, params)
    found, found_by_fewer = (_found(sample.labels, records) for records in (everything, fewer))
    return Comparison(
        objects=len(np.unique(sample.labels[sample.labels > 0])),
        found=Share(len(found_by_fewer), len(found)),
        again=Share(sum(_has(fewer, record) for record in everything), len(everything)),
        prompts=Share(replayed.prompts, full.prompts),
    )


def replay(picture: NDArray[np.uint8], full: Candidates, params: AutomaticParams) -> Candidates:
    """What an adaptive grid would have collected, from the answers to the full one."""
    params = params.changed(adaptive=True)
    points = params.grid(0) * full.shape
    grid = make_grid(picture, points, Crop((0, 0, *full.shape), 0), params)
    answers: dict[tuple[float, float], list[MaskRecord]] = {}
    for record in full.records:
        answers.setdefault(record.point, []).append(record)

    def ask(batch: NDArray[np.intp]) -> list[MaskRecord]:
        return [one for y, x in points[batch].tolist() for one in answers.get((y, x), [])]

    prompts, found = 0, list[MaskRecord]()
    for asked, records in walk(grid, ask, params):
        prompts += asked
        found += records
    return Candidates(
        tuple(found), full.shape, np.zeros(len(found), np.intp), 1, full.least_score,
        full.stability_score_offset, prompts,
    )  # fmt: skip


def compare_pack(
    predictor: EncodesAndDecodes,
    pack: Path,
    params: AutomaticParams,
    *,
    datasets: tuple[str, ...] = DATASETS,
    every_plane: int = EVERY_PLANE,
    every_image: int = 1,
) -> Iterator[tuple[Sample, Comparison]]:
    """Both grids on the labelled images of a pack, one after the other.

    Raises
    ------
    ImageError
        The pack cannot be read.
    """
    params = params.changed(adaptive=False, crop_n_layers=0)
    samples = read_pack(pack, datasets=datasets, every_plane=every_plane)
    for number, sample in enumerate(samples):
        if number % every_image == 0:
            job = collect(sample.picture, predictor, params, intensity="as_is")
            yield sample, compare(sample, finish(job), params)


def row(name: str, found: Comparison) -> str:
    """A line of the table that :func:`main` prints."""
    return (
        f"| {name} | {found.objects} | {found.found.whole} | {found.found.part}"
        f" | {found.found.value:.1%} | {found.again.value:.1%} of {found.again.whole}"
        f" | {found.prompts.value:.1%} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table: a line an image, and the total."""
    parser = argparse.ArgumentParser(prog="python -m napari_sam.evaluation.grids")
    parser.add_argument("pack", type=Path, help="folder with labelled images and manifest.json")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument(
        "--dataset", action="append", help=f"default: {', '.join(DATASETS)}; may be given again"
    )
    parser.add_argument("--every-plane", type=int, default=EVERY_PLANE, help="of stacks")
    parser.add_argument("--every-image", type=int, default=1, help="to take fewer of them")
    options = parser.parse_args(arguments)
    predictor = load_predictor(options.model)
    params = AutomaticParams.for_model(predictor.spec)
    total = Comparison()
    say("| image | objects | full grid finds | adaptive | recall kept | masks kept | prompts |")
    say("|---|---|---|---|---|---|---|")
    for sample, found in compare_pack(
        predictor,
        options.pack,
        params,
        datasets=tuple(options.dataset or DATASETS),
        every_plane=options.every_plane,
        every_image=options.every_image,
    ):
        total += found
        say(row(sample.name, found))
    say(row("**total**", total))


def say(line: str) -> None:
    """Print at once: an image takes half a minute."""
    print(line, flush=True)  # noqa: T201


def _found(labels: NDArray[np.int32], records: Sequence[MaskRecord]) -> set[int]:
    """Labels of which some record has IoU >= 0.5."""
    areas = np.bincount(labels.ravel())
    found = set()
    for record in records:
        shared = np.bincount(labels[record.region][record.patch], minlength=len(areas))
        shared[0] = 0
        best = int(shared.argmax())
        union = areas[best] + record.area - shared[best]
        if best and shared[best] >= SAME * union:
            found.add(best)
    return found


def _has(records: Sequence[MaskRecord], wanted: MaskRecord) -> bool:
    """Whether one of the records has IoU >= 0.5 with another."""
    return any(_iou(record, wanted) >= SAME for record in records)


def _iou(first: MaskRecord, second: MaskRecord) -> float:
    sides = [
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(first.region, second.region, strict=True)
    ]
    if any(side.start >= side.stop for side in sides):
        return 0.0
    parts = [
        one.patch[
            tuple(
                slice(side.start - start.start, side.stop - start.start)
                for side, start in zip(sides, one.region, strict=True)
            )
        ]
        for one in (first, second)
    ]
    both = int(np.count_nonzero(parts[0] & parts[1]))
    return both / (first.area + second.area - both)


if __name__ == "__main__":
    main()
