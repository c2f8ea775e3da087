"""Objects through stacks and films from a few clicks: 3D IoU, speed, and simpler ways beside it.

The command: ``python -m napari_sam.evaluation.propagation PACK``. A simulated user
(``stack_user.py``) clicks on the middle plane of each object, sees all planes, and corrects the
worst one, up to five times. Results of each volume are kept, so that a killed run goes on.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.errors import PromptError
from napari_sam.evaluation.clicks import first_click
from napari_sam.evaluation.grids import say
from napari_sam.evaluation.metrics import Mask, iou
from napari_sam.evaluation.results import ResultStore, open_results
from napari_sam.evaluation.sources import open_images
from napari_sam.evaluation.stack_baselines import (
    component,
    copied,
    drawn_planes,
    interpolated,
    spread_planes,
)
from napari_sam.evaluation.stack_items import StackItem, read_stacks
from napari_sam.evaluation.stack_user import Annotation, key_planes, middle_plane
from napari_sam.progress import finish
from napari_sam.volume.model import ModelChoice
from napari_sam.volume.propagation.job import propagate_objects
from napari_sam.volume.propagation.memory import Memory
from napari_sam.volume.propagation.params import MODES, PropagateParams
from napari_sam.volume.propagation.stack import Stack, open_embedder, turned

if TYPE_CHECKING:
    from napari_sam.volume.embedder import Embedder

CORRECTIONS = 5
ROUNDS = (0, 3, 5)
EVERY = 10
ENOUGH = 0.8


@dataclass(frozen=True)
class StackResult:
    """One object after some actions.

    Attributes
    ----------
    title
        Kind of volume.
    object
        Its label.
    way
        Mode of propagation, or what else was done.
    actions
        Of the user.
    iou
        3D IoU.
    planes, seconds
        What the propagation of all objects of the volume handed out, and how long it took.
    """

    title: str
    object: int
    way: str
    actions: int
    iou: float
    planes: int = 0
    seconds: float = 0.0


def ask(
    item: StackItem,
    embedder: "Embedder",
    params: PropagateParams,
    way: str,
    corrections: int = CORRECTIONS,
) -> list[StackResult]:
    """Propagate and correct all objects of a volume."""
    notes = {one: Annotation(item.truth == one) for one in item.objects}
    for note in notes.values():
        note.begin()
    memory, results = Memory(), []
    for actions in range(1, corrections + 2):
        begun = time.perf_counter()
        answers, planes = _propagate(item, embedder, params, notes, memory)
        seconds = time.perf_counter() - begun
        results += [
            StackResult(
                item.kind.title, one, way, actions, iou(answers[one], notes[one].truth), planes,
                seconds,
            )
            for one in notes
        ]  # fmt: skip
        for one, note in notes.items():
            note.correct(answers[one])
    return results


def _propagate(
    item: StackItem,
    embedder: "Embedder",
    params: PropagateParams,
    notes: Mapping[int, Annotation],
    memory: Memory,
) -> tuple[dict[int, Mask], int]:
    """Masks of each object, and how many planes were handed out.

    Where the model sees nothing at somebody's clicks, each object goes alone, and those clicks are
    taken back: they were in vain.
    """
    try:
        return _together(item, embedder, params, notes, memory)
    except PromptError:
        if len(notes) == 1:
            (note,) = notes.values()
            note.take_back()
            return {one: np.zeros(item.truth.shape, bool) for one in notes}, 0
    answers: dict[int, Mask] = {}
    planes = 0
    for one, note in notes.items():
        found, count = _propagate(item, embedder, params, {one: note}, memory)
        answers |= found
        planes = max(planes, count)
    return answers, planes


def _together(
    item: StackItem,
    embedder: "Embedder",
    params: PropagateParams,
    notes: Mapping[int, Annotation],
    memory: Memory,
) -> tuple[dict[int, Mask], int]:
    answers = {one: np.zeros(item.truth.shape, bool) for one in notes}
    planes = 0
    for step in propagate_objects(
        item.image, key_planes(notes), params=params, along=item.along, embeddings=embedder,
        memory=memory,
    ):  # fmt: skip
        planes += len(step.results)
        for result in step.results:
            for one in result.objects:
                answers[one.id][result.plane][one.region] = one.mask
    return answers, planes


def ask_simply(item: StackItem, embedder: "Embedder") -> list[StackResult]:
    """What copies, interpolation and a threshold make of as many actions."""
    stack = Stack(embedder)
    spacing = embedder.job.image.spacing[1:]
    pictures = [
        embedder.job.intensity.picture(embedder.job.image.read((0, p)))[..., 0]
        for p in range(len(item.truth))
    ]
    results = []
    for one in item.objects:
        truth = item.truth == one

        def note(way: str, actions: int, answer: Mask, one: int = one, truth: Mask = truth) -> None:
            found = StackResult(item.kind.title, one, way, actions, iou(answer, truth))
            results.append(found)

        for actions in (1 + number for number in ROUNDS):
            masks = {p: _click(stack, p, truth[p]) for p in spread_planes(truth, actions)}
            note("copies", actions, copied(masks, truth))
            if actions > 1:
                note("clicks + interpolation", actions, interpolated(masks, truth, spacing))
        drawn = {p: truth[p] for p in drawn_planes(truth, EVERY)}
        note("drawn every 10th + interpolation", len(drawn), interpolated(drawn, truth, spacing))
        middle = middle_plane(truth)
        click = first_click(truth[middle])
        note("threshold + components", 1, component(pictures, (middle, click.y, click.x)))
    return results


def _click(stack: Stack, plane: int, truth: Mask) -> Mask:
    """What the model makes of one click on a plane."""
    from napari_sam.volume.clicks import solve

    click = first_click(truth)
    prompts = Prompts(points=[[(click.y, click.x)]], point_labels=[[1]])
    answer = finish(solve(stack.embedder, stack.plane(plane), prompts, multimask=True))[0]
    patch, region = answer.patch()
    mask = np.zeros_like(truth)
    mask[region] = patch
    return mask


def embedder_of(item: StackItem, model: ModelChoice, folder: Path) -> "Embedder":
    """With a store below ``folder``: planes are encoded once for all modes."""
    ref = item.image if item.along == "z" else turned(item.image, item.along)
    name = item.id.replace("/", "-")
    identity = str(model.identity()["weights_sha256"])[:8]
    where = folder / "embeddings" / f"{name}-{len(item.truth)}-{identity}"
    return open_embedder(ref, model, "percentile", item.kind.channels, where)


def evaluate(
    items: Iterator[StackItem],
    model: ModelChoice,
    ways: Sequence[str],
    folder: Path,
    *,
    simple: bool = True,
    corrections: int = CORRECTIONS,
) -> dict[str, list[StackResult]]:
    """Results by way; those of each volume are kept in ``folder`` as they come."""
    found: dict[str, list[StackResult]] = {}
    for item in items:
        embedder: Embedder | None = None
        for way in [*ways, *(["simply"] if simple else [])]:
            about = {"model": model.identity(), "way": way, "corrections": corrections}
            if way != "simply":
                about["params"] = json.loads(json.dumps(asdict(params_of(way))))
            store: ResultStore = open_results(folder, f"{model.name}-{way}", about)
            key = f"{item.id} {len(item.truth)} {item.objects}"
            known = store.read("stacks", StackResult).get(key)
            if known is None:
                embedder = embedder or _warm(item, model, folder)
                known = (
                    ask_simply(item, embedder)
                    if way == "simply"
                    else ask(item, embedder, params_of(way), way, corrections)
                )
                store.add("stacks", key, known)
            found.setdefault(way, []).extend(known)
    return found


def _warm(item: StackItem, model: ModelChoice, folder: Path) -> "Embedder":
    """All planes encoded, so that times are those of propagation."""
    embedder = embedder_of(item, model, folder)
    for tile in embedder.grid:
        embedder.tile(tile)
    return embedder


def params_of(way: str) -> PropagateParams:
    """``mode`` or ``mode+motion``, or ``default``; with ``,name=value`` other settings."""
    mode, *settings = way.split(",")
    given: dict[str, Any] = dict(one.split("=") for one in settings)
    changes: dict[str, Any] = {
        name: value == "True" if value in ("True", "False") else float(value)
        for name, value in given.items()
    }
    if mode != "default":
        changes |= {"mode": mode.removesuffix("+motion"), "motion": mode.endswith("+motion")}
    return PropagateParams().changed(**changes)


def table(found: Mapping[str, Sequence[StackResult]]) -> list[str]:
    """Markdown: a row for each kind of volume and way."""
    rows = [
        "| volume | way | objects | 1 click | + 3 | + 5 | clicks to 0.8 | planes/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    every = [result for results in found.values() for result in results]
    for title in dict.fromkeys(result.title for result in every):
        for way in dict.fromkeys(result.way for result in every if result.title == title):
            rows.append(_row(title, way, [r for r in every if (r.title, r.way) == (title, way)]))
    return rows


def _row(title: str, way: str, results: Sequence[StackResult]) -> str:
    objects = len({result.object for result in results})
    if way.startswith("drawn"):
        mean = np.mean([result.iou for result in results])
        count = np.mean([result.actions for result in results])
        return (f"| {title} | {way} | {objects} | {mean:.3f} ({count:.1f} planes drawn) |  |  |"
                "  |  |")  # fmt: skip
    cells = [_mean(results, 1 + number) for number in ROUNDS]
    complete = {result.actions for result in results} >= set(range(1, CORRECTIONS + 2))
    clicks = f"{_clicks(results):.1f}" if complete else ""
    first = [result for result in results if result.actions == 1 and result.seconds]
    speed = f"{np.mean([r.planes / r.seconds for r in first]):.1f}" if first else ""
    return f"| {title} | {way} | {objects} | {' | '.join(cells)} | {clicks} | {speed} |"


def _mean(results: Sequence[StackResult], actions: int) -> str:
    values = [result.iou for result in results if result.actions == actions]
    return f"{np.mean(values):.3f}" if values else ""


def _clicks(results: Sequence[StackResult]) -> float:
    """Mean number of actions to an IoU of 0.8; one more than the most where it is not reached."""
    counts = []
    for one in {result.object for result in results}:
        good = [r.actions for r in results if r.object == one and r.iou >= ENOUGH]
        counts.append(min(good, default=CORRECTIONS + 2))
    return float(np.mean(counts))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m napari_sam.evaluation.propagation")
    parser.add_argument("pack", type=Path, help="folder with labelled volumes and manifest.json")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", help="a file to use instead of the model's own")
    parser.add_argument(
        "--way", action="append", default=[],
        help=f"default, or a mode: {', '.join(MODES)}; with +motion; may be given again",
    )  # fmt: skip
    parser.add_argument("--objects", type=int, default=5, help="of each volume, at most")
    parser.add_argument("--planes", type=int, help="of each volume, from the middle; default: all")
    parser.add_argument(
        "--corrections", type=int, default=CORRECTIONS, help="clicks after the first"
    )
    parser.add_argument("--only", action="append", default=[], help="beginnings of ids")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--results", type=Path, default=Path("propagation-results"))
    options = parser.parse_args(arguments)
    items = read_stacks(
        open_images(options.pack), objects=options.objects, planes=options.planes,
        only=tuple(options.only),
    )  # fmt: skip
    model = ModelChoice(options.model, weights=options.weights)
    ways = options.way or ["default"]
    found = evaluate(
        items, model, ways, options.results,
        simple=not options.no_baselines, corrections=options.corrections,
    )  # fmt: skip
    for line in table(found):
        say(line)


if __name__ == "__main__":
    main()
