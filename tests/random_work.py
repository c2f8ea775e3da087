"""Random work on a document, the same for the same seed: for tests that stop it anywhere."""

import contextlib
import hashlib
import random

import numpy as np

from napari_sam._document import Document, Made
from napari_sam._label_edit import ArrayLabels, difference
from napari_sam._operations import Drawing
from napari_sam._place import (
    BoxPrompt,
    MaskPrompt,
    OutlinePrompt,
    PointPrompt,
    PromptSet,
    StrokePrompt,
)
from napari_sam.errors import EditError

SHAPE = (24, 30)
ACTIONS = ("prompts", "commit", "commit", "commit", "stroke", "delete", "merge", "split", "reshape",
           "renumber", "describe", "class", "open", "refine", "clear", "undo", "undo",
           "redo")  # fmt: skip
KINDS = ("", "cell", "dirt")


def new_document():
    return Document(ArrayLabels(np.zeros(SHAPE, np.uint32)))


def do_something(document, rng):
    """One action; some are refused, which changes nothing."""
    action = rng.choice(ACTIONS)
    numbers = sorted(document.objects)
    chosen = rng.sample(numbers, min(len(numbers), rng.choice((1, 1, 2))))
    with contextlib.suppress(EditError):
        _ACT[action](document, rng, chosen)
    return action


def _prompts(document, rng, _):
    points = tuple(
        PointPrompt((float(rng.randrange(24)), rng.random() * 30), rng.random() < 0.8)
        for _ in range(rng.randrange(4))
    )
    boxes = (BoxPrompt((1.0, 2.0), (5.0, 9.5)),) if rng.random() < 0.2 else ()
    strokes = (StrokePrompt(_path(rng), rng.random() < 0.5),) if rng.random() < 0.3 else ()
    kind, corners = rng.choice((("polygon", 4), ("polygon", 60), ("ellipse", 4)))  # 60: a lasso
    outlines = (OutlinePrompt(_path(rng, corners), kind),) if rng.random() < 0.3 else ()
    document.set_prompts(PromptSet(points, boxes, strokes, outlines, document.prompts.mask))


def _path(rng, length=4):
    return tuple((rng.random() * 24, rng.random() * 30) for _ in range(length))


def _refine(document, rng, chosen):
    number = chosen[0] if chosen else 1
    mask = document.labels.data == number
    document.refine(number, MaskPrompt.of(mask[:9, :9], (0, 0)))


def _commit(document, rng, chosen):
    height, width = rng.randrange(1, 9), rng.randrange(1, 9)
    y, x = rng.randrange(24 - height), rng.randrange(30 - width)
    canvas = np.random.default_rng(rng.randrange(1000)).integers(0, 3, (height, width))
    canvas[0, 0] = 1
    document.commit(
        Drawing((y, x), canvas.astype(np.uint32)),
        [Made(rng.random(), 1, document.prompts, "tiny"), Made()],
        mode=rng.choice(("new", "new", "add", "subtract", "replace")),
        target=chosen[0] if chosen else None,
        overwrite=rng.random() < 0.4,
        overlaps=rng.random() < 0.5,
        kind=rng.choice(KINDS),
        clear=rng.random() < 0.8,
        details={"each": False},
    )


def _stroke(document, rng, chosen):
    labels = document.labels.data
    before = labels.copy()
    y, x = rng.randrange(20), rng.randrange(26)
    labels[y : y + 4, x : x + rng.randrange(1, 5)] = rng.choice([0, *chosen, 40])
    document.stroke(difference(before, labels))


def _class(document, rng, _):
    """A class comes, changes its colour or its name, or goes."""
    name, other = rng.choice(KINDS), rng.choice(("cell", "debris"))
    match rng.randrange(3):
        case 0:
            document.set_kind(name, rng.choice(("", "#102030")))
        case 1:
            document.rename_kind(name, other)
        case _:
            document.remove_kind(name)


_ACT = {
    "prompts": _prompts,
    "commit": _commit,
    "stroke": _stroke,
    "delete": lambda document, rng, chosen: document.delete(chosen),
    "merge": lambda document, rng, chosen: document.merge(chosen),
    "split": lambda document, rng, chosen: document.split(
        [(float(rng.randrange(24)), float(rng.randrange(30))) for _ in range(6)]
    ),
    "reshape": lambda document, rng, chosen: document.reshape(
        chosen,
        rng.choice(("fill holes", "largest island", "smooth", "grow", "shrink")),
        overwrite=rng.random() < 0.5,
    ),
    "renumber": lambda document, rng, chosen: document.renumber(
        chosen[0] if chosen else 1, rng.randrange(1, 60)
    ),
    "describe": lambda document, rng, chosen: document.describe(
        chosen, kind=rng.choice(KINDS), reviewed=rng.random() < 0.5
    ),
    "class": _class,
    "open": lambda document, rng, chosen: document.open(chosen[0] if chosen else 1),
    "refine": _refine,
    "clear": lambda document, rng, chosen: document.clear(),
    "undo": lambda document, rng, chosen: document.undo(),
    "redo": lambda document, rng, chosen: document.redo(),
}


def fingerprint(document):
    """Differs for every state of labels, objects, classes, draft and history."""
    history = document.history
    objects = sorted(document.objects.items())
    said = (
        document.labels.data.tobytes(),
        objects,
        [one.covered and one.covered.bits for _, one in objects],
        list(document.kinds.items()),
        document.draft,
        [step.name for step in history],
        None if history.next_redo is None else history.next_redo.name,
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


def states(seed, count):
    """Fingerprints after each line that a journal of this work has: at the start, and so on."""
    found, document, rng = [], new_document(), random.Random(seed)

    class Listener:
        def step(self, step):
            found.append(None)

        def turn(self, direction):
            found.append(None)

    document.recorder = Listener()
    marks = [fingerprint(document)]
    while len(found) < count:
        do_something(document, rng)
        if len(found) == len(marks):
            marks.append(fingerprint(document))
    return marks
