"""A document and its journal against a naive model that copies everything at every step."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from napari_sam._annotated import ObjectRecord
from napari_sam._covered import Covered
from napari_sam._document import Document, Made
from napari_sam._history import Draft
from napari_sam._journal import Journal, Source, read_journal, restore
from napari_sam._label_edit import ArrayLabels, difference
from napari_sam._operations import Drawing
from napari_sam._place import (
    NO_PROMPTS,
    BoxPrompt,
    MaskPrompt,
    OutlinePrompt,
    PointPrompt,
    PromptSet,
    StrokePrompt,
)
from napari_sam.errors import EditError

SHAPE = (12, 14)
KINDS = ("", "cell", "dirt")
rows, columns = st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1)
rectangles = st.tuples(rows, columns, st.integers(1, 7), st.integers(1, 7))
switches = {"overwrite": st.booleans(), "overlaps": st.booleans()}
indices = st.integers(0, 9)


@dataclass(frozen=True)
class Fact:
    """What a table says of an object beside its shape; ``covered``: pixels beneath others."""

    score: float | None = None
    reviewed: bool = False
    prompts: PromptSet = NO_PROMPTS
    kind: str = ""
    covered: frozenset = frozenset()


def pixels(mask):
    return frozenset(map(tuple, np.argwhere(mask).tolist()))


class Naive:
    """Whole copies: labels, what a table says beside them, draft, classes."""

    def __init__(self):
        self.labels = np.zeros(SHAPE, np.uint32)
        self.facts, self.draft, self.kinds = {}, Draft(), []
        self.done, self.undone = [], []

    def copy(self):
        return (self.labels.copy(), dict(self.facts), self.draft, list(self.kinds))

    def change(self, number, **changes):
        self.facts[number] = replace(self.facts[number], **changes)

    def add_kind(self, kind):
        if kind and kind not in self.kinds:
            self.kinds.append(kind)

    def begin(self):
        self.done.append(self.copy())
        self.undone.clear()

    def finish(self, staying=()):
        """Facts of what is gone go; what a brush has drawn has none.

        What lies wholly beneath others stays, but who was seen before only if it is ``staying``.
        """
        was, here = (set(np.unique(a).tolist()) - {0} for a in (self.done[-1][0], self.labels))
        hidden = {n for n, fact in self.facts.items() if fact.covered} - (was - set(staying))
        self.facts = {n: self.facts.get(n, Fact()) for n in here | hidden}
        if self.draft.opened not in self.facts:
            self.draft = replace(self.draft, opened=None)

    def undo(self):
        if self.done:
            self.undone.append(self.copy())
            self.labels, self.facts, self.draft, self.kinds = self.done.pop()

    def redo(self):
        if self.undone:
            self.done.append(self.copy())
            self.labels, self.facts, self.draft, self.kinds = self.undone.pop()

    def records(self):
        found = {}
        for number, fact in self.facts.items():
            hidden = np.zeros(SHAPE, bool)
            for place in fact.covered:
                hidden[place] = True
            seen = self.labels == number
            places = np.argwhere(seen if seen.any() else hidden)
            low, high = places.min(0).tolist(), (places.max(0) + 1).tolist()
            found[number] = ObjectRecord(
                number,
                np.count_nonzero(seen),
                tuple(zip(low, high, strict=True)),
                (0, 1),
                fact.score,
                fact.kind,
                fact.reviewed,
                fact.prompts,
                covered=Covered.of(hidden, (0, 0)),
            )
        return found


class Machine(RuleBasedStateMachine):
    """The same actions on both."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.source = Source("image", str(Path(self.folder.name) / "a.tif"), SHAPE)
        self.real, self.naive = Document(ArrayLabels(np.zeros(SHAPE, np.uint32))), Naive()
        self.real.recorder = Journal(self.source)
        self.saved = None

    def teardown(self):
        self.real.recorder.close()
        self.folder.cleanup()

    def number(self, index):
        numbers = sorted(self.naive.facts)
        return numbers[index % len(numbers)] if numbers else None

    @rule(
        points=st.lists(st.tuples(rows, columns), max_size=3),
        path=st.lists(st.tuples(rows, columns), min_size=2, max_size=8),
        kind=st.sampled_from(("none", "box", "scribble", "not this", "polygon", "ellipse")),
    )
    def prompt(self, points, path, kind):
        """Points, and a box, a scribble, a lasso or polygon, or an ellipse."""
        drawn = tuple((float(y), float(x)) for y, x in path)
        low, high = (tuple(map(end, zip(*drawn, strict=True))) for end in (min, max))
        prompts = PromptSet(
            tuple(PointPrompt((float(y), float(x))) for y, x in points),
            (BoxPrompt(low, high),) if kind == "box" else (),
            (StrokePrompt(drawn, kind == "scribble"),) if kind in ("scribble", "not this") else (),
            (OutlinePrompt(drawn, kind),) if kind in ("polygon", "ellipse") else (),
            self.naive.draft.prompts.mask,
        )
        self.real.set_prompts(prompts)
        if prompts != self.naive.draft.prompts:
            self.naive.begin()
            self.naive.draft = replace(self.naive.draft, prompts=prompts)

    @initialize(places=st.lists(st.tuples(rows, columns), min_size=2, max_size=4))
    def begin(self, places):
        """Objects that overlap more often than not."""
        for y, x in places:
            self._commit("new", 0, (y, x, 7, 7), overlaps=True)

    @rule(shape=rectangles, score=st.integers(0, 9), kind=st.sampled_from(KINDS), **switches)
    def keep(self, shape, score, kind, overwrite, overlaps):
        self._commit("new", 0, shape, score, kind, overwrite=overwrite, overlaps=overlaps)

    @precondition(lambda self: self.naive.facts)
    @rule(shape=rectangles, mode=st.sampled_from(("add", "subtract", "replace")),
          index=indices, score=st.integers(0, 9), **switches)  # fmt: skip
    def change(self, shape, mode, index, score, overwrite, overlaps):
        self._commit(mode, index, shape, score, overwrite=overwrite, overlaps=overlaps)

    def _commit(self, mode, index, shape, score=0, kind="", *, overwrite=False, overlaps=False):
        y, x, height, width = shape
        height, width = min(height, SHAPE[0] - y), min(width, SHAPE[1] - x)
        target, prompts = self.number(index), self.naive.draft.prompts
        drawing = Drawing((y, x), np.ones((height, width), np.uint32))
        made = Made(score / 10, 0, prompts)
        how = {"mode": mode, "target": target, "overwrite": overwrite, "overlaps": overlaps}
        try:
            self.real.commit(drawing, [made], axes=(0, 1), kind=kind, **how)
        except EditError:
            refused = True
        else:
            refused = False
        naive = self.naive
        if naive.draft.opened is not None:
            mode, target = "replace", naive.draft.opened
        where = np.zeros(SHAPE, bool)
        where[y : y + height, x : x + width] = True
        before, labels = naive.labels, naive.labels.copy()
        if mode == "new":
            number = max([0, *naive.facts]) + 1
            labels[where & ((labels == 0) | overwrite)] = number
        elif target is not None:
            number = target
            if mode == "subtract":
                labels[where & (labels == target)] = 0
            else:
                if mode == "replace":
                    labels[labels == target] = 0
                labels[where & ((labels == 0) | overwrite)] = target
        hidden = frozenset()
        if overlaps and not overwrite:
            hidden = pixels(where & (before != 0) & ((before != target) | (mode == "new")))
        if mode in ("add", "subtract") and target is not None:
            own = naive.facts[target].covered
            hidden = own | hidden if mode == "add" else own - pixels(where)
        nothing_left = not hidden and not (labels == target).any()
        assert refused == (mode != "new" and (target is None or nothing_left))
        if refused:
            return
        naive.begin()
        naive.labels, naive.draft = labels, Draft()
        if mode == "new":
            naive.facts[number] = Fact(score / 10, False, prompts, kind, hidden)
            naive.add_kind(kind)
        elif mode == "replace":
            naive.change(number, score=score / 10, prompts=prompts, covered=hidden)
        else:
            naive.change(number, covered=hidden)
        lost = {number: hidden}
        if overlaps and overwrite:
            for loser in set(naive.facts) - {number}:
                lost[loser] = pixels((before == loser) & (labels == number))
                naive.change(loser, covered=naive.facts[loser].covered | lost[loser])
        naive.finish(staying=[n for n, places in lost.items() if places])

    @rule(y=rows, x=columns, size=st.integers(1, 4), label=st.sampled_from((0, 1, 2, 30)))
    def edit(self, y, x, size, label):
        before = self.real.labels.data.copy()
        self.real.labels.data[y : y + size, x : x + size] = label
        self.real.stroke(difference(before, self.real.labels.data))
        after = self.naive.labels.copy()
        after[y : y + size, x : x + size] = label
        if (after != self.naive.labels).any():
            self.naive.begin()
            self.naive.labels = after
            self.naive.finish()

    @precondition(lambda self: self.naive.facts)
    @rule(index=indices)
    def delete(self, index):
        """What lay beneath comes to light, the lowest number first."""
        number, naive = self.number(index), self.naive
        if number is None:
            return
        self.real.delete([number])
        naive.begin()
        naive.facts.pop(number)
        gone = naive.labels == number
        naive.labels = np.where(gone, 0, naive.labels)
        for other in sorted(naive.facts):
            covered = naive.facts[other].covered
            seen = {place for place in covered if gone[place] and not naive.labels[place]}
            for place in seen:
                naive.labels[place] = other
            naive.change(other, covered=covered - seen)
        naive.finish()

    @precondition(lambda self: len(self.naive.facts) > 1)
    @rule(one=indices, other=indices)
    def merge(self, one, other):
        numbers, naive = [self.number(one), self.number(other)], self.naive
        if None in numbers or numbers[0] == numbers[1]:
            return
        self.real.merge(numbers)
        naive.begin()
        naive.labels = np.where(naive.labels == numbers[1], numbers[0], naive.labels)
        covered = naive.facts[numbers[0]].covered | naive.facts[numbers[1]].covered
        naive.change(numbers[0], score=None, prompts=PromptSet(), covered=covered)
        naive.facts.pop(numbers[1])
        naive.finish()

    @precondition(lambda self: self.naive.facts)
    @rule(index=indices)
    def accept(self, index):
        number = self.number(index)
        if number is not None:
            self.real.describe([number], reviewed=True)
            if not self.naive.facts[number].reviewed:
                self.naive.begin()
                self.naive.change(number, reviewed=True)

    @precondition(lambda self: self.naive.facts)
    @rule(index=indices, kind=st.sampled_from(KINDS))
    def classify(self, index, kind):
        number = self.number(index)
        if number is not None:
            self.real.describe([number], kind=kind)
            if self.naive.facts[number].kind != kind:
                self.naive.begin()
                self.naive.change(number, kind=kind)
                self.naive.add_kind(kind)

    @rule(old=st.sampled_from(KINDS), new=st.sampled_from(("", "cell", "debris")))
    def rename(self, old, new):
        """A class gets another name, or goes if the new one is empty."""
        naive = self.naive
        try:
            if new:
                self.real.rename_kind(old, new)
            else:
                self.real.remove_kind(old)
        except EditError:
            assert old not in naive.kinds or new in naive.kinds
            return
        naive.begin()
        naive.kinds = [new if kind == old else kind for kind in naive.kinds]
        naive.kinds = [kind for kind in naive.kinds if kind]
        for number, fact in naive.facts.items():
            if fact.kind == old:
                naive.change(number, kind=new)

    @precondition(lambda self: self.naive.facts)
    @rule(index=indices)
    def open(self, index):
        number = self.number(index)
        if number is None:
            return
        prompts = self.naive.facts[number].prompts
        try:
            self.real.open(number)
        except EditError:
            assert not prompts
        else:
            self.naive.begin()
            self.naive.draft = Draft(prompts, number)

    @precondition(lambda self: self.naive.facts)
    @rule(index=indices)
    def refine(self, index):
        number = self.number(index)
        if number is not None:
            mask = MaskPrompt.of(self.naive.labels == number, (0, 0))
            self.real.refine(number, mask)
            self.naive.begin()
            self.naive.draft = Draft(PromptSet(mask=mask), number)

    @precondition(lambda self: self.naive.done)
    @rule()
    def undo(self):
        assert (self.real.undo() is None) == (not self.naive.done)
        self.naive.undo()

    @precondition(lambda self: self.naive.undone)
    @rule()
    def redo(self):
        assert (self.real.redo() is None) == (not self.naive.undone)
        self.naive.redo()

    @rule()
    def save(self):
        """Everything to the disk, as when the window closes."""
        self.real.recorder.sync()
        self.saved = self.naive.copy()

    @precondition(lambda self: self.real.recorder.path is not None)
    @rule()
    def restore(self):
        """The program ends, and another goes on with the journal."""
        journal = self.real.recorder
        journal.close()
        lines = read_journal(journal.path)
        self.real = restore(lines, ArrayLabels(np.zeros(SHAPE, np.uint32)))
        self.real.recorder = again = Journal(self.source, journal.path)
        again.open_again(lines)

    @invariant()
    def same(self):
        assert np.array_equal(self.real.labels.data, self.naive.labels)
        assert self.real.draft == self.naive.draft
        assert self.real.objects == self.naive.records()
        assert list(self.real.kinds) == self.naive.kinds
        assert len(self.real.history) == len(self.naive.done)


def run(examples):
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_document_does_what_a_naive_model_does():
    run(12)


@pytest.mark.statemachine
@pytest.mark.timeout(3600)  # in the middle of an example it would look like a fault of ours
def test_a_document_does_what_a_naive_model_does_at_full_depth():
    run(500)
