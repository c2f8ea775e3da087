"""Many objects in one step: found by a worker, written by the window."""

import numpy as np
import pytest

from napari_sam import _bulk
from napari_sam._bulk import Bulk, keep_all
from napari_sam._label_edit import ArrayLabels
from napari_sam._predict import Origin, Plane
from napari_sam._session import Session

SHAPE = (3, 20, 30)


class Squares:
    """Three objects on the plane z = 1, the last half beneath the second."""

    plane = Plane(("a",), np.zeros(SHAPE, np.uint8), (1, 2), (1, 0, 0))
    region = (slice(2, 12), slice(4, 24))
    scores = (0.9, 0.8, float("nan"))
    origin = Origin("vit_b", "sha256:1", (0.0, 99.0))

    def canvas(self):
        drawn = np.zeros((10, 20), np.uint32)
        drawn[0:4, 0:4] = 1
        drawn[5:9, 4:8] = 2
        drawn[5:9, 8:10] = 3
        return drawn

    def beneath(self, canvas):
        hidden = np.zeros(canvas.shape, bool)
        hidden[5:9, 6:8] = True
        return {3: hidden}


class Desk:
    def __init__(self, dtype=np.uint32):
        self.session = Session(weights_needed=False)
        self.labels = ArrayLabels(np.zeros(SHAPE, dtype))
        self.session.output_requested.connect(
            lambda: self.session.adopt("labels", self.labels, survey=False)
        )
        self.bulk = Bulk(self.session)
        self.requests, self.kept = [], []
        self.bulk.requested.connect(self.requests.append)

    def keep(self, **options):
        self.bulk.keep(Squares(), self.kept.append, **{"overwrite": False, **options})

    def answer(self):
        job = keep_all(self.requests.pop())
        while True:
            try:
                next(job)
            except StopIteration as end:
                return self.bulk.accept(end.value)


@pytest.fixture(params=[False, True], ids=["at once", "by a worker"])
def desk(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(_bulk, "AT_ONCE", 0)
    return Desk()


def test_all_are_one_step_with_scores_and_class(desk):
    desk.session.set_kind("cell")
    desk.keep()
    if desk.requests:
        assert not desk.session.document.objects
        desk.answer()
    assert desk.kept == [[1, 2, 3]]
    assert np.array_equal(desk.labels.data[1][2:12, 4:24], Squares().canvas())
    objects = desk.session.document.objects
    assert [(one.score, one.kind) for one in objects.values()] == [
        (0.9, "cell"), (0.8, "cell"), (None, "cell")
    ]  # fmt: skip
    assert objects[1].axes == (1, 2)
    assert objects[1].region == ((1, 2), (2, 6), (4, 8))
    assert len(desk.session.document.history) == 1
    assert {one.model for one in objects.values()} == {"vit_b"}  # not the one chosen by now
    details = desk.session.document.history.next_undo.details
    assert (details["model"], details["weights"], details["intensity"]) == (
        "vit_b", "sha256:1", [0.0, 99.0]
    )  # fmt: skip
    desk.session.undo()
    assert not desk.labels.data.any()
    assert not desk.session.document.objects
    assert not desk.session.document.kinds


def test_overlaps_among_them_and_with_others_are_kept(desk):
    desk.session.set_keep_overlaps(True)
    desk.session.has_output()
    desk.labels.data[1, 2:4, 4:8] = 7
    desk.keep()
    if desk.requests:
        desk.answer()
    covered = [one.covered for one in desk.session.document.objects.values()]
    assert [0 if one is None else one.mask.sum() for one in covered] == [8, 0, 8]


def test_labels_that_changed_meanwhile_are_looked_at_again(monkeypatch):
    monkeypatch.setattr(_bulk, "AT_ONCE", 0)
    desk = Desk()
    desk.keep()
    desk.labels.data[1, 2:6, 4:8] = 9
    desk.answer()
    assert not desk.kept
    desk.answer()
    assert desk.kept == [[10, 11]]
    assert (desk.labels.data == 9).sum() == 16


def test_another_output_meanwhile_is_left_alone(monkeypatch):
    monkeypatch.setattr(_bulk, "AT_ONCE", 0)
    desk = Desk()
    desk.keep()
    desk.session.choose_output(None)
    desk.answer()
    assert not desk.kept
    assert "Not kept" in desk.session.message
    desk.bulk.cancelled()
    assert "nothing was kept" in desk.session.message


def test_no_room_is_said():
    desk = Desk(np.uint8)
    desk.session.has_output()
    desk.labels.data[0, 0, 0] = 254
    desk.keep()
    assert "no room for label 257" in desk.session.message
    assert not desk.kept
