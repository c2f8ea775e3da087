"""How many links and divisions are right, of true masks whose numbers are shuffled.

The command: ``python -m napari_sam.evaluation.tracking PACK``. The masks are the true ones, so the
figures are of linking alone; every second and third frame make it harder. Time-lapses of the pack
have no divisions in their truth: those are judged on drawn ones (``moving_cells``).
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.evaluation.datasets import read_manifest
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.moving_cells import draw_cells
from napari_sam.progress import finish
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.pipeline import Method, TrackParams, link
from napari_sam.tracking.scan import Scan, scan_labels
from napari_sam.tracking.series import LabelSeries

__all__ = ["Figures", "judge", "main", "shuffled"]

METHODS = (Method.OVERLAP, Method.LAPTRACK)
STEPS = (1, 2, 3)
WANDER = (0.1, 0.25, 0.5)
Labels = NDArray[Any]


@dataclass(frozen=True)
class Figures:
    """Counts of one method on one time-lapse.

    Attributes
    ----------
    true, found, right
        Links between objects, those of divisions included.
    divided, divisions, correct
        True divisions, those that were accepted, and how many of these have the right parent and
        all the right children.
    """

    true: int
    found: int
    right: int
    divided: int
    divisions: int
    correct: int

    @property
    def precision(self) -> float:
        """Right links of those found."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Right links of those that there are."""
        return self.right / self.true if self.true else 1.0

    @property
    def division_f1(self) -> float:
        """Of divisions; 1 where there are none and none was accepted."""
        both = self.divided + self.divisions
        return 2 * self.correct / both if both else 1.0


@dataclass(frozen=True, eq=False)
class _Lapse:
    name: str
    labels: Labels  # (t, [z,] y, x) by track
    graph: Mapping[int, Sequence[int]] | None  # None: the truth has no divisions


def shuffled(labels: Labels, seed: int = 0) -> Labels:
    """The same masks with other numbers in each frame."""
    random = np.random.default_rng(seed)
    made = np.zeros_like(labels)
    for before, after in zip(labels, made, strict=True):
        names, place = np.unique(before, return_inverse=True)
        numbers = np.zeros(len(names), labels.dtype)
        numbers[names > 0] = random.permutation(int((names > 0).sum())) + 1
        after[...] = numbers[place].reshape(before.shape)
    return made


def judge(truth: Lineage, found: Lineage) -> Figures:
    """Compare two lineages of the same masks, whatever the numbers of these are."""
    true, seen = (set(map(tuple, one.edges().tolist())) for one in (truth, found))
    divided, divisions = _divisions(truth), _divisions(found)
    return Figures(
        len(true), len(seen), len(true & seen), len(divided), len(divisions),
        len(divided & divisions),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each time-lapse and method."""
    parser = argparse.ArgumentParser(prog="python -m napari_sam.evaluation.tracking")
    parser.add_argument("pack", type=Path, help="folder with labelled images and manifest.json")
    options = parser.parse_args(arguments)
    say("| time-lapse | frames | objects | method | links | precision | recall | divisions | F1 |")
    say("|---|---|---|---|---|---|---|---|---|")
    for lapse in (*_of_pack(options.pack), *_drawn()):
        truth = _truth(_scan(lapse.labels), lapse.graph or {})
        scan = _scan(shuffled(lapse.labels))
        for method in METHODS:
            found = link(scan, TrackParams(method))
            figures = judge(truth, found.accept() if lapse.graph else found.decide())
            say(_row(lapse, scan, method, figures))


def _row(lapse: _Lapse, scan: Scan, method: Method, figures: Figures) -> str:
    known = lapse.graph is not None
    return (
        f"| {lapse.name} | {scan.shape[0]} | {len(scan.objects)} | {method} | {figures.true}"
        f" | {figures.precision:.4f} | {figures.recall:.4f}"
        f" | {figures.divided if known else '-'}"
        f" | {f'{figures.division_f1:.3f}' if known else '-'} |"
    )


def _of_pack(pack: Path) -> Iterator[_Lapse]:
    """Time-lapses whose objects have the same number in all frames."""
    for item in read_manifest(pack)["items"]:
        file = pack / str(item["label"])
        if item.get("label_kind") != "instance+tracks" or not file.is_file():
            continue  # a folder: single frames of a video, far apart
        axes = str(item.get("label_axes", "TYX")).lower()
        series = LabelSeries.open(file, axes=axes)
        frames = np.stack([series.frame(t) for t in range(len(series))])
        for step in STEPS:
            if len(frames[::step]) > 1:
                name = item["id"] if step == 1 else f"{item['id']}, 1 frame in {step}"
                yield _Lapse(name, frames[::step], None)


def _drawn() -> Iterator[_Lapse]:
    for step in WANDER:
        drawn = draw_cells(step)
        yield _Lapse(f"drawn, wandering by {step:g} diameters", drawn.labels, drawn.graph)


def _scan(labels: Labels) -> Scan:
    return finish(scan_labels(LabelSeries.open(labels, axes="tyx" if labels.ndim == 3 else "tzyx")))


def _truth(scan: Scan, graph: Mapping[int, Sequence[int]]) -> Lineage:
    kinds: dict[str, Any] = {"shape": scan.shape, "spacing": scan.spacing}
    return Lineage.of_tracks(scan.objects, scan.objects.label, graph, **kinds)


def _divisions(lineage: Lineage) -> set[tuple[int, frozenset[int]]]:
    """Rows of a parent's last object and of its children's first ones."""
    rows = lineage.rows().tolist()
    last = {int(lineage.track[row]): row for row in rows}
    first = {int(lineage.track[row]): row for row in reversed(rows)}
    return {
        (last[parent], frozenset(first[child] for child in children))
        for parent, children in lineage.divisions.items()
        if len(children) > 1
    }


if __name__ == "__main__":
    main()
