"""A journal -> labels again: as they were, or as another model would have made them.

Knows journals, documents and predictors; knows no window. With a model, prompts are asked again
and every other step is done again: what was deleted, merged or split is so again; brush strokes are
laid where they were.
"""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._document import Document, Made
from napari_sam._history import Step
from napari_sam._journal import Lines, restore
from napari_sam._label_edit import ArrayLabels, difference, inside
from napari_sam._place import place
from napari_sam._predict import Plane, PromptablePredictor, ask, cut_objects
from napari_sam._session import drawing_of
from napari_sam.core.intensity import Intensity
from napari_sam.errors import EditError, JournalError
from napari_sam.progress import Progress

Read = Callable[[Plane], NDArray[Any]]


def replay(lines: Lines) -> Document:
    """The document as the journal has it, with all its steps.

    Raises
    ------
    JournalError
        The journal is damaged.
    """
    return restore(lines, ArrayLabels(np.zeros(lines.source.shape, np.uint32)), kept=None)


def replay_with(
    lines: Lines, predictor: PromptablePredictor, read: Read
) -> Generator[Progress, None, tuple[Document, list[str]]]:
    """The document as another model would have made it; and which steps could not be done again.

    Parameters
    ----------
    read
        Gives the pixels of a plane, (H, W) or (H, W, C).
    """
    steps = list(replay(lines).history)
    document = Document(ArrayLabels(np.zeros(lines.source.shape, np.uint32)), kept=None)
    embeddings: dict[Any, Any] = {}
    left_out: list[str] = []
    for record in lines.records:
        if record["do"] == "base":
            raise JournalError(
                f"{lines.path} began with labels that were there already: it can be replayed as it"
                " was, but not with another model."
            )
    for index, step in enumerate(steps):
        yield Progress(index, len(steps), f"{step.name} ...")
        try:
            if step.name == "commit":
                _keep(document, step, predictor, read, embeddings)
            else:
                _AGAIN[step.name](document, step)
        except EditError as error:
            left_out.append(f"step {index + 1}, {step.name}: {error}")
    return document, left_out


def _keep(
    document: Document,
    step: Step,
    predictor: PromptablePredictor,
    read: Read,
    embeddings: dict[Any, Any],
) -> None:
    details, prompts = step.details, step.draft[0].prompts
    if step.draft[0] == step.draft[1]:  # all at once, without prompts of its own
        raise EditError("objects that were found all at once have no prompts.")
    if "channels" in details:
        raise EditError("the model saw several channels, which are not read from a file yet.")
    where, labels = details["plane"], document.labels
    assert labels is not None
    plane = Plane(
        (tuple(where["axes"]), tuple(where["index"])),
        _Shape(labels.shape),
        tuple(where["axes"]),
        tuple(where["index"]),
    )
    said = details["intensity"]
    intensity: Intensity = said if isinstance(said, str) else (said[0], said[1])  # type: ignore[assignment]
    key = (plane.key, intensity)
    if key not in embeddings:
        embeddings.clear()
        embeddings[key] = predictor.encode(read(plane), intensity=intensity)
    placed = place(prompts, plane, each=details["each"])
    if placed.prompts is None:
        raise EditError("none of its prompts lies on its plane.")
    prediction = ask(
        predictor, embeddings[key], placed.prompts, placed.sketches, twice=placed.twice
    )
    chosen = [row[min(details["candidate"], len(row) - 1)] for row in cut_objects(prediction)]
    patches = [patch for patch in chosen if patch.mask.size]
    if not patches:
        raise EditError("the model finds nothing there.")
    candidate = details["candidate"] if len(patches) == 1 else 0
    document.set_prompts(prompts)
    document.commit(
        drawing_of(plane, patches),
        [Made(patch.score, candidate, prompts) for patch in patches],
        mode=details["mode"],
        target=details["target"],
        overwrite=details["overwrite"],
        first=min((n for n, (before, _) in step.objects.items() if before is None), default=None),
        axes=plane.axes,
        kind=details.get("kind", ""),
        overlaps=details.get("overlaps", False),
        details={key: details[key] for key in ("each", "candidate", "plane", "intensity")},
    )


class _Shape:
    """An array of which only the shape is known."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _stroke(document: Document, step: Step) -> None:
    """Lay a brush stroke: it paints over whatever is there."""
    assert document.labels is not None
    if not step.edit:
        return
    region = step.edit.region
    before = document.labels.read(region)
    after = before.copy()
    for one in step.edit.changes:
        after[inside(one.region, region)][one.mask] = one.after
    document.labels.write(region, after)
    document.stroke(difference(before, after, [part.start for part in region]))


def _refine(document: Document, step: Step) -> None:
    """The shape that a person began with, also where this model had drawn another."""
    mask = step.draft[1].prompts.mask
    assert mask is not None
    document.refine(step.details["number"], mask)


def _load(document: Document, step: Step) -> None:
    """Lay what came from a file."""
    _stroke(document, step)
    for number, (_, record) in step.objects.items():
        if record is not None and number in document.objects:
            document.describe([number], kind=record.kind, reviewed=record.reviewed)


def _classes(document: Document, step: Step) -> None:
    said = step.details
    if "new" not in said:
        document.set_kind(said["name"], said["colour"])
    elif said["new"]:
        document.rename_kind(said["name"], said["new"])
    else:
        document.remove_kind(said["name"])


_AGAIN: dict[str, Callable[[Document, Step], Any]] = {
    "prompts": lambda document, step: document.set_prompts(step.draft[1].prompts),
    "clear": lambda document, step: document.clear(),
    "open": lambda document, step: document.open(step.details["number"]),
    "refine": _refine,
    "stroke": _stroke,
    "delete": lambda document, step: document.delete(step.details["numbers"]),
    "merge": lambda document, step: document.merge(step.details["numbers"]),
    "split": lambda document, step: document.split(
        [tuple(point) for point in step.details["points"]]
    ),
    "reshape": lambda document, step: document.reshape(**step.details),
    "renumber": lambda document, step: document.renumber(**step.details),
    "describe": lambda document, step: document.describe(**step.details),
    "classes": _classes,
    "load": _load,
    "propagate": _stroke,  # as it was: the stack is not asked again
}
