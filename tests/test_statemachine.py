"""A document and its journal against a naive model that copies everything at every step."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from napari_sam._annotated import ObjectRecord
from napari_sam._document import Document, Made
from napari_sam._history import Draft
from napari_sam._journal import Journal, Source, read_journal, restore
from napari_sam._label_edit import ArrayLabels, difference
from napari_sam._operations import Drawing
from napari_sam._place import MaskPrompt, OutlinePrompt, PointPrompt, PromptSet, StrokePrompt
from napari_sam.errors import EditError

SHAPE = (12, 14)
rows, columns = st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1)


class Naive:
    """Whole copies: labels, what a table says beside them, draft."""

    def __init__(self):
        self.labels = np.zeros(SHAPE, np.uint32)
        self.facts, self.draft = {}, Draft()
        self.done, self.undone = [], []

    def copy(self):
        return (self.labels.copy(), dict(self.facts), self.draft)

    def begin(self):
        self.done.append(self.copy())
        self.undone.clear()

    def finish(self):
        """Facts of what is gone go; what a brush has drawn has none."""
        here = set(np.unique(self.labels).tolist()) - {0}
        self.facts = {n: self.facts.get(n, (None, False, PromptSet())) for n in here}
        if self.draft.opened not in here:
            self.draft = replace(self.draft, opened=None)

    def undo(self):
        if self.done:
            self.undone.append(self.copy())
            self.labels, self.facts, self.draft = self.done.pop()

    def redo(self):
        if self.undone:
            self.done.append(self.copy())
            self.labels, self.facts, self.draft = self.undone.pop()

    def records(self):
        found = {}
        for number, (score, reviewed, prompts) in self.facts.items():
            places = np.argwhere(self.labels == number)
            low, high = places.min(0).tolist(), (places.max(0) + 1).tolist()
            found[number] = ObjectRecord(
                number,
                len(places),
                tuple(zip(low, high, strict=True)),
                (0, 1),
                score,
                reviewed=reviewed,
                prompts=prompts,
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
        path=st.lists(st.tuples(rows, columns), min_size=2, max_size=4),
        kind=st.sampled_from(("none", "scribble", "not this", "polygon", "ellipse")),
    )
    def prompt(self, points, path, kind):
        drawn = tuple((float(y), float(x)) for y, x in path)
        prompts = PromptSet(
            tuple(PointPrompt((float(y), float(x))) for y, x in points),
            strokes=(StrokePrompt(drawn, kind == "scribble"),)
            if kind in ("scribble", "not this")
            else (),
            outlines=(OutlinePrompt(drawn, kind),) if kind in ("polygon", "ellipse") else (),
            mask=self.naive.draft.prompts.mask,
        )
        self.real.set_prompts(prompts)
        if prompts != self.naive.draft.prompts:
            self.naive.begin()
            self.naive.draft = replace(self.naive.draft, prompts=prompts)

    @rule(y=rows, x=columns, height=st.integers(1, 5), width=st.integers(1, 5),
          mode=st.sampled_from(("new", "new", "add", "subtract", "replace")),
          index=st.integers(0, 9), overwrite=st.booleans(), score=st.integers(0, 9))  # fmt: skip
    def commit(self, y, x, height, width, mode, index, overwrite, score):
        height, width = min(height, SHAPE[0] - y), min(width, SHAPE[1] - x)
        target, prompts = self.number(index), self.naive.draft.prompts
        drawing = Drawing((y, x), np.ones((height, width), np.uint32))
        made = Made(score / 10, 0, prompts)
        try:
            self.real.commit(
                drawing, [made], mode=mode, target=target, overwrite=overwrite, axes=(0, 1)
            )
        except EditError:
            refused = True
        else:
            refused = False
        naive = self.naive
        if naive.draft.opened is not None:
            mode, target = "replace", naive.draft.opened
        where = np.zeros(SHAPE, bool)
        where[y : y + height, x : x + width] = True
        labels = naive.labels.copy()
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
        impossible = mode != "new" and (target is None or not (labels == target).any())
        assert refused == impossible
        if refused:
            return
        naive.begin()
        naive.labels, naive.draft = labels, Draft()
        if mode == "replace":
            naive.facts[number] = (score / 10, naive.facts[number][1], prompts)
        elif mode == "new":
            naive.facts[number] = (score / 10, False, prompts)
        naive.finish()

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

    @rule(index=st.integers(0, 9))
    def delete(self, index):
        number = self.number(index)
        if number is not None:
            self.real.delete([number])
            self.naive.begin()
            self.naive.labels = np.where(self.naive.labels == number, 0, self.naive.labels)
            self.naive.finish()

    @rule(one=st.integers(0, 9), other=st.integers(0, 9))
    def merge(self, one, other):
        numbers = [self.number(one), self.number(other)]
        if None in numbers or numbers[0] == numbers[1]:
            return
        self.real.merge(numbers)
        naive = self.naive
        naive.begin()
        naive.labels = np.where(naive.labels == numbers[1], numbers[0], naive.labels)
        naive.facts[numbers[0]] = (None, naive.facts[numbers[0]][1], PromptSet())
        naive.finish()

    @rule(index=st.integers(0, 9))
    def accept(self, index):
        number = self.number(index)
        if number is not None:
            self.real.describe([number], reviewed=True)
            score, reviewed, prompts = self.naive.facts[number]
            if not reviewed:
                self.naive.begin()
                self.naive.facts[number] = (score, True, prompts)

    @rule(index=st.integers(0, 9))
    def open(self, index):
        number = self.number(index)
        if number is None:
            return
        prompts = self.naive.facts[number][2]
        try:
            self.real.open(number)
        except EditError:
            assert not prompts
        else:
            self.naive.begin()
            self.naive.draft = Draft(prompts, number)

    @rule(index=st.integers(0, 9))
    def refine(self, index):
        number = self.number(index)
        if number is not None:
            mask = MaskPrompt.of(self.naive.labels == number, (0, 0))
            self.real.refine(number, mask)
            self.naive.begin()
            self.naive.draft = Draft(PromptSet(mask=mask), number)

    @rule()
    def undo(self):
        assert (self.real.undo() is None) == (not self.naive.done)
        self.naive.undo()

    @rule()
    def redo(self):
        assert (self.real.redo() is None) == (not self.naive.undone)
        self.naive.redo()

    @rule()
    def save(self):
        """Everything to the disk, as when the window closes."""
        self.real.recorder.sync()
        self.saved = self.naive.copy()

    @rule()
    def restore(self):
        """The program ends, and another goes on with the journal."""
        journal = self.real.recorder
        if journal.path is None:
            return
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
def test_a_document_does_what_a_naive_model_does_at_full_depth():
    run(500)
