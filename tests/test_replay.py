"""A journal -> labels again, in Python and on the command line."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy.ndimage import binary_erosion
from typer.testing import CliRunner

from napari_sam._cli import app
from napari_sam._journal import Journal, Source, read_journal
from napari_sam._label_edit import ArrayLabels, difference
from napari_sam._place import OutlinePrompt, PointPrompt, PromptSet, StrokePrompt
from napari_sam._predict import EmbeddingCache, Plane, predict
from napari_sam._replay import replay, replay_with
from napari_sam._review import Review
from napari_sam._session import Session
from napari_sam.progress import finish
from napari_sam.testing import FakePredictor

SHAPE = (60, 80)


class Desk:
    """A session with a journal and a model whose answers come at once."""

    def __init__(self, path, radius=6.0):
        self.image = np.zeros(SHAPE, np.uint8)
        tifffile.imwrite(path, self.image)
        self.predictor, self.cache = FakePredictor(radius=radius), EmbeddingCache()
        self.session = session = Session(weights_needed=False)
        self.journal = Journal(Source("cells", str(path), SHAPE, "uint8"))
        session.document.recorder = self.journal
        self.labels = ArrayLabels(np.zeros(SHAPE, np.uint32))
        session.output_requested.connect(lambda: session.adopt("labels", self.labels))
        session.requested.connect(self._answer)
        session.set_plane(Plane("a", self.image, (0, 1), (0, 0)))

    def _answer(self, request):
        job = predict(request, load=lambda _: self.predictor, cache=self.cache)
        self.session.accept(finish(job))

    def keep(self, *positions, candidate=1):
        points = tuple(PointPrompt(p) for p in positions)
        self.session.set_prompts(PromptSet(points))
        self.session.choose_candidate(candidate)
        self.session.commit()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "cells.tif")
    desk.keep((20.0, 20.0))
    desk.keep((20.0, 60.0), candidate=2)
    desk.keep((40.0, 40.0))
    desk.session.undo()
    desk.session.clear()
    desk.session.set_each(True)
    desk.keep((45.0, 20.0), (45.0, 60.0))
    desk.session.set_each(False)
    desk.session.do(lambda document: document.merge([1, 2]))
    before = desk.labels.data.copy()
    desk.labels.data[0:3, 0:9] = 30
    desk.labels.data[20, 20] = 0
    desk.session.stroke(difference(before, desk.labels.data))
    desk.session.do(lambda document: document.describe([3], kind="cell", reviewed=True))
    desk.session.do(lambda document: document.reshape([3], "grow", 2))
    desk.journal.close()
    return desk


def test_the_labels_are_those_of_the_session(desk):
    document = replay(read_journal(desk.journal.path))
    assert np.array_equal(document.labels.data, desk.labels.data)
    assert document.objects == desk.session.document.objects


def test_the_same_model_makes_the_same_labels(desk):
    lines = read_journal(desk.journal.path)
    job = replay_with(lines, FakePredictor(radius=6.0), lambda plane: desk.image)
    document, left_out = finish(job)
    assert left_out == []
    assert np.array_equal(document.labels.data, desk.labels.data)


def test_another_model_makes_others(desk):
    lines = read_journal(desk.journal.path)
    predictor = FakePredictor(radius=4.0)
    document, left_out = finish(replay_with(lines, predictor, lambda plane: desk.image))
    assert left_out == []
    assert len(predictor.images) == 1
    assert sorted(document.objects) == sorted(desk.session.document.objects)
    assert document.objects[1].area < desk.session.document.objects[1].area
    assert document.objects[30].area == desk.session.document.objects[30].area
    assert document.objects[3].kind == "cell"


def test_what_the_other_model_does_not_find_is_left_out_and_said(desk):
    lines = read_journal(desk.journal.path)

    class Blind(FakePredictor):
        def mask(self, prompts, index, size, factor=1.0):
            return np.zeros(size, bool)

    document, left_out = finish(replay_with(lines, Blind(), lambda plane: desk.image))
    assert any("finds nothing" in line for line in left_out)
    assert any("merge" in line for line in left_out)
    assert sorted(document.objects) == [30]


def test_objects_keep_their_numbers_when_one_before_them_is_not_found(tmp_path):
    desk = Desk(tmp_path / "cells.tif")
    for x in (10.0, 40.0, 70.0):
        desk.keep((20.0, x))
    desk.session.do(lambda document: document.delete([2]))
    desk.session.do(lambda document: document.describe([3], kind="cell"))
    desk.journal.close()

    class LeftIsDark(FakePredictor):
        def mask(self, prompts, index, size, factor=1.0):
            found = super().mask(prompts, index, size, factor)
            return found & (np.arange(size[1]) > 25)

    job = replay_with(
        read_journal(desk.journal.path), LeftIsDark(radius=6.0), lambda plane: desk.image
    )
    document, left_out = finish(job)
    assert len(left_out) == 1
    assert list(document.objects) == [3]
    assert document.objects[3].kind == "cell"
    assert document.labels.data[20, 70] == 3


class Careful(FakePredictor):
    """Draws everything a pixel smaller."""

    def mask(self, prompts, index, size, factor=1.0):
        return binary_erosion(super().mask(prompts, index, size, factor))


def drawn(desk):
    """One object a kind: scribbles, lasso, ellipse, and a label that was begun with."""
    session = desk.session
    line = tuple((10.0, float(x)) for x in range(10, 30))
    beside = StrokePrompt(((16.0, 10.0), (16.0, 30.0)), positive=False)
    around = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    lasso = tuple((15.0 + 8 * np.sin(a), 60.0 + 8 * np.cos(a)) for a in around)
    box = ((35.0, 8.0), (35.0, 28.0), (50.0, 28.0), (50.0, 8.0))
    for prompts in (
        PromptSet(strokes=(StrokePrompt(line), beside)),
        PromptSet(outlines=(OutlinePrompt(lasso),)),
        PromptSet(outlines=(OutlinePrompt(box, "ellipse"),)),
    ):
        session.set_prompts(prompts)
        session.commit()
    before = desk.labels.data.copy()
    desk.labels.data[40:50, 50:64] = 9
    session.stroke(difference(before, desk.labels.data))
    session.select([9])
    Review(session).refine()
    session.set_prompts(replace(session.prompts, points=(PointPrompt((45.0, 64.0)),)))
    session.commit()
    desk.journal.close()
    return read_journal(desk.journal.path)


def test_scribbles_outlines_and_labels_are_asked_again(tmp_path):
    desk = Desk(tmp_path / "cells.tif")
    lines = drawn(desk)
    kept = desk.session.document.objects
    assert sorted(kept) == [1, 2, 3, 9]
    same, left_out = finish(replay_with(lines, FakePredictor(radius=6.0), lambda _: desk.image))
    assert left_out == []
    assert np.array_equal(same.labels.data, desk.labels.data)
    careful = Careful(radius=4.0)
    other, left_out = finish(replay_with(lines, careful, lambda _: desk.image))
    assert left_out == []
    assert sorted(other.objects) == [1, 2, 3, 9]
    for number, one in other.objects.items():
        assert 0 < one.area < kept[number].area
        assert one.prompts == kept[number].prompts
    middles = ((10, 20), (15, 60), (42, 18), (45, 63))
    assert [other.labels.data[at] for at in middles] == [1, 2, 3, 9]
    asked = [p.mask_logits is not None for p in careful.prompts]
    assert asked == [False, True, True, True, True]  # a scribble's own answer, three shapes


def test_a_stroke_paints_over_what_is_there_as_one_step(desk):
    lines = read_journal(desk.journal.path)
    document, _ = finish(replay_with(lines, FakePredictor(radius=6.0), lambda plane: desk.image))
    assert [step.name for step in document.history].count("stroke") == 1


def run(*arguments):
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def test_the_command_writes_the_labels(desk, tmp_path):
    out = tmp_path / "labels.tif"
    result = run(desk.journal.path, "-o", out)
    assert result.exit_code == 0, result.output
    assert np.array_equal(tifffile.imread(out), desk.labels.data)
    assert "4 objects" in result.output
    assert run(desk.journal.path, "-o", out).exit_code == 7
    assert run(desk.journal.path, "-o", out, "--force").exit_code == 0


def test_the_command_asks_another_model(desk, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sam._cli_models.load", lambda *_: FakePredictor(radius=4.0))
    out = tmp_path / "labels.npy"
    result = run(desk.journal.path, "-o", out, "-m", "vit_b")
    assert result.exit_code == 0, result.output
    again = np.load(out)
    assert 0 < (again == 1).sum() < (desk.labels.data == 1).sum()


def test_what_cannot_be_replayed_is_said(desk, tmp_path):
    none = tmp_path / "none.jsonl"
    result = run(none, "-o", tmp_path / "a.tif")
    assert result.exit_code == 8
    assert run(desk.journal.path, "-o", tmp_path / "a.png").exit_code == 2
