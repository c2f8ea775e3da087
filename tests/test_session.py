"""The session without Qt and napari: states and events."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sam._label_edit import ArrayLabels, difference
from napari_sam._place import (
    BoxPrompt,
    OutlinePrompt,
    PointPrompt,
    PromptSet,
    StrokePrompt,
    place,
)
from napari_sam._predict import (
    EmbeddingCache,
    MaskPatch,
    ModelChoice,
    Plane,
    PredictorPool,
    PredictResponse,
    cut_objects,
    paint,
    predict,
)
from napari_sam._review import Review
from napari_sam._session import LayerRef, Session
from napari_sam.core.frame import Frame
from napari_sam.core.predictor import MaskPrediction
from napari_sam.progress import finish
from napari_sam.testing import SCORES, FakePredictor


def make_plane(key="a", shape=(40, 50)):
    return Plane((key,), np.zeros(shape, np.uint8), (0, 1), (-1, -1))


def stack_plane(z, shape=(5, 40, 50)):
    return Plane(("stack", z), np.zeros(shape, np.uint8), (1, 2), (z, 0, 0))


def record(signal, values):
    """Collect what a signal carries."""
    signal.connect(lambda value: values.append(value))


def points(*positions, negative=()):
    return PromptSet(
        tuple(PointPrompt(p, True) for p in positions)
        + tuple(PointPrompt(p, False) for p in negative)
    )


class Desk:
    """A session with its worker at hand: requests are collected and answered when told."""

    def __init__(self, predictor=None):
        self.session = Session(weights_needed=False)
        self.predictor = predictor or FakePredictor()
        self.cache = EmbeddingCache()
        self.labels = ArrayLabels(np.zeros((40, 50), np.uint16))
        self.requests, self.replaced, self.messages = [], [], []
        record(self.session.requested, self.requests)
        self.session.output_requested.connect(
            lambda: self.session.adopt("labels", self.labels, survey=False)
        )
        record(self.session.prompts_replaced, self.replaced)
        record(self.session.message_changed, self.messages)
        self.session.set_plane(make_plane())

    @property
    def commits(self):
        return [step for step in self.session.document.history if step.name == "commit"]

    def keep(self, *position):
        """A click and Enter: an object with radius 8."""
        self.session.set_prompts(points(position))
        self.answer()
        self.session.commit()

    def answer(self, index=-1):
        job = predict(self.requests[index], load=lambda _: self.predictor, cache=self.cache)
        while True:
            try:
                next(job)
            except StopIteration as end:
                self.session.accept(end.value)
                return end.value


@pytest.fixture
def desk():
    return Desk()


def test_a_prompt_becomes_a_request_and_a_preview(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    assert len(desk.requests) == 1
    desk.answer()
    (patch,) = desk.session.preview
    assert desk.session.candidate == 1  # the best score
    assert desk.session.scores == pytest.approx(SCORES)
    assert patch.offset == (2, 12)
    assert patch.mask[8, 8]


def test_older_answers_are_dropped(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.session.set_prompts(points((30.0, 30.0)))
    desk.answer(0)
    assert desk.session.response is None
    desk.answer(1)
    assert desk.session.preview[0].offset == (22, 22)


def test_the_same_prompts_ask_only_once(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.session.set_prompts(points((10.0, 20.0)))
    assert len(desk.requests) == 1


def test_an_image_is_encoded_once_for_all_prompts(desk):
    for y in (10.0, 12.0, 14.0):
        desk.session.set_prompts(points((y, 20.0)))
        desk.answer()
    assert len(desk.predictor.images) == 1
    assert len(desk.predictor.prompts) == 3


@pytest.mark.parametrize("change", ["plane", "model", "precision", "backend", "intensity"])
def test_another_plane_model_or_intensity_is_encoded_again(desk, change):
    session = desk.session
    session.set_prompts(points((10.0, 20.0)))
    desk.answer()
    if change == "plane":
        session.set_plane(make_plane("b"))
    elif change == "model":
        session.choose_model(ModelChoice("vit_b"))
    elif change == "precision":
        session.choose_model(ModelChoice(precision="fast"))
    elif change == "backend":
        session.choose_model(ModelChoice(backend="openvino"))
    else:
        session.choose_intensity("as_is")
    desk.answer()
    assert len(desk.predictor.images) == 2


def test_candidates_are_stepped_round_and_round(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.answer()
    sizes = []
    for _ in range(4):
        sizes.append(desk.session.preview[0].mask.sum())
        desk.session.step_candidate()
    assert sizes[0] == sizes[3]
    assert sizes[2] < sizes[0] < sizes[1]
    desk.session.choose_candidate(7)  # there is none
    assert desk.session.candidate == 2


def test_undo_of_prompts_goes_back_edit_by_edit(desk):
    session = desk.session
    one, two = points((10.0, 20.0)), points((10.0, 20.0), (12.0, 22.0))
    session.set_prompts(one)
    session.set_prompts(two)
    session.undo()
    assert session.prompts == one == desk.replaced[-1]
    session.undo()
    assert session.prompts == PromptSet()
    assert session.response is None
    session.undo()
    assert "nothing to undo" in session.message
    session.redo()
    session.redo()
    assert session.prompts == two == desk.replaced[-1]
    desk.answer()
    assert session.preview
    session.redo()
    assert "nothing to redo" in session.message


def test_clear_can_be_undone(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.answer()
    desk.session.clear()
    assert desk.session.preview == ()
    desk.session.undo()
    desk.answer()
    assert desk.session.prompts == points((10.0, 20.0))
    assert desk.session.preview


def test_commit_writes_the_masks_and_goes_on(desk):
    session = desk.session
    session.set_prompts(points((10.0, 20.0)))
    desk.answer()
    session.choose_candidate(2)
    session.commit()
    assert desk.labels.data[10, 20] == 1
    record = session.document.objects[1]
    assert (record.candidate, record.score) == (2, pytest.approx(SCORES[2]))
    assert record.prompts == points((10.0, 20.0))
    assert not session.prompts
    assert session.preview == ()
    assert session.message == "Kept as label 1."
    session.undo()
    assert not desk.labels.data.any()
    assert session.prompts == points((10.0, 20.0))
    desk.answer()
    assert session.candidate == 2  # as it was kept
    session.redo()
    assert desk.labels.data[10, 20] == 1
    assert not session.prompts


def test_without_an_output_nothing_is_kept():
    session = Session(weights_needed=False)
    desk = Desk()
    desk.session.output_requested.disconnect()
    desk.keep(10.0, 20.0)
    assert desk.session.prompts
    assert not desk.commits
    assert not session.can_undo


def test_what_is_done_is_undone_in_order(desk):
    session = desk.session
    desk.keep(10.0, 20.0)
    desk.keep(30.0, 40.0)
    before = desk.labels.data.copy()
    desk.labels.data[0, :5] = 9
    session.stroke(difference(before, desk.labels.data))
    session.select([1])
    session.do(lambda document: document.delete([1]), "gone")
    assert session.message == "gone"
    assert session.selection == ()
    session.undo()
    assert "deleting" in session.message
    assert 1 in session.document.objects
    session.undo()
    assert np.array_equal(desk.labels.data, before)
    session.undo()
    assert set(session.document.objects) == {1}
    assert session.prompts == points((30.0, 40.0))


def test_modes_change_the_selected_object(desk):
    session = desk.session
    desk.keep(10.0, 20.0)
    session.set_mode("add")
    desk.keep(10.0, 30.0)
    assert "Select an object" in session.message
    session.select([1])
    session.commit()
    assert session.message == "Label 1 is changed."
    assert desk.labels.data[10, 30] == 1
    session.step_mode()
    assert session.mode == "subtract"
    desk.keep(10.0, 30.0)
    assert desk.labels.data[10, 30] == 0
    with pytest.raises(ValueError, match="subtract"):
        session.set_mode("divide")


def test_others_keep_their_pixels_unless_they_may_be_overwritten(desk):
    desk.keep(10.0, 20.0)
    desk.keep(10.0, 24.0)
    assert desk.labels.data[10, 20] == 1
    desk.session.set_overwrite(True)
    desk.keep(10.0, 24.0)
    assert desk.labels.data[10, 20] == 3


def test_an_object_is_opened_edited_and_replaced(desk):
    session = desk.session
    desk.keep(10.0, 20.0)
    desk.keep(30.0, 40.0)
    session.open_object(1)
    desk.answer()
    assert desk.replaced[-1] == points((10.0, 20.0)) == session.prompts
    assert session.selection == (1,)
    session.set_prompts(points((14.0, 20.0)))  # the mask follows
    desk.answer()
    assert session.preview[0].offset == (6, 12)
    session.commit()
    assert session.message == "Label 1 is changed."
    assert desk.labels.data[4, 20] == 0
    assert desk.labels.data[22, 20] == 1
    assert session.document.objects[1].prompts == points((14.0, 20.0))
    session.undo()
    assert session.document.draft.opened == 1
    session.undo()
    session.undo()
    assert session.document.draft.opened is None
    assert desk.labels.data[4, 20] == 1


def test_an_object_without_prompts_cannot_be_opened(desk):
    before = desk.labels.data.copy()
    desk.keep(10.0, 20.0)
    before = desk.labels.data.copy()
    desk.labels.data[0, :5] = 9
    desk.session.stroke(difference(before, desk.labels.data))
    desk.session.open_object(9)
    assert "no prompts" in desk.session.message
    desk.session.open_object()
    assert "Select an object" in desk.session.message


def test_each_point_an_object(desk):
    session = desk.session
    session.set_each(True)
    session.set_prompts(points((10.0, 10.0), (10.0, 40.0), (30.0, 20.0), negative=[(10.0, 14.0)]))
    assert desk.requests[-1].prompts.points.shape == (3, 2, 2)
    desk.answer()
    assert len(session.preview) == 3
    session.commit()
    assert sorted(session.document.objects) == [1, 2, 3]
    assert desk.labels.data[10, 14] == 0
    assert desk.labels.data[10, 40] != desk.labels.data[30, 20] != 0
    session.undo()
    assert not desk.labels.data.any()
    session.set_each(False)
    assert desk.requests[-1].prompts.points.shape == (1, 4, 2)


def test_a_click_alone_and_among_others_gets_the_same_mask(desk):
    desk.session.set_each(True)
    desk.session.set_prompts(points((10.0, 10.0)))
    desk.answer()
    (alone,) = desk.session.preview
    desk.session.set_prompts(points((10.0, 10.0), (30.0, 30.0)))
    desk.answer()
    assert np.array_equal(desk.session.preview[0].mask, alone.mask)


class Pictured(FakePredictor):
    """One that could look closer at small objects; remembers whether it was let."""

    def __init__(self) -> None:
        super().__init__()
        self.let: list[bool] = []

    def encode(self, image, **options):
        return replace(super().encode(image, **options), picture=np.zeros((9, 9, 3), np.uint8))

    def decode(self, embedding, prompts, **options):
        self.let.append(embedding.picture is not None)
        return super().decode(embedding, prompts, **options)


def test_what_follows_the_mouse_takes_no_closer_look(desk):
    session, predictor, cache = desk.session, Pictured(), EmbeddingCache()
    session.set_hovering(True)
    session.hover((10.0, 20.0))
    session.set_prompts(points((10.0, 20.0)))
    for request in desk.requests:
        finish(predict(request, load=lambda _: predictor, cache=cache))
    assert predictor.let == [False, True]


def test_hovering_shows_the_mask_of_a_click_and_never_keeps_it(desk):
    session = desk.session
    session.hover((10.0, 20.0))
    assert not desk.requests
    session.set_hovering(True)
    session.hover((10.0, 20.0))
    session.hover((12.0, 20.0))
    desk.answer(0)
    assert session.shown[1] == ()  # an older one
    desk.answer()
    assert session.shown[1][0].offset == (4, 12)
    assert session.preview == ()
    session.commit()
    assert not desk.commits
    session.hover((100.0, 20.0))
    assert session.shown[1] == ()
    session.hover((12.0, 20.0))
    desk.answer()
    session.set_prompts(points((30.0, 30.0)))
    session.hover((12.0, 20.0))
    assert desk.requests[-1].prompts.points.tolist() == [[[30, 30]]]
    desk.answer()
    assert session.shown[1][0].offset == (22, 22)
    session.clear()
    session.hover((12.0, 20.0))
    desk.answer()
    session.set_hovering(False)
    assert session.shown[1] == ()


@pytest.mark.parametrize(
    "leave",
    [
        lambda session: session.set_hovering(False),
        lambda session: session.hover((100.0, 20.0)),
        lambda session: session.set_plane(make_plane("b", (30, 30))),
    ],
    ids=["switched off", "outside", "another image"],
)
def test_an_answer_for_a_mouse_that_has_left_is_not_shown(desk, leave):
    session = desk.session
    session.set_hovering(True)
    session.hover((10.0, 20.0))
    leave(session)
    desk.answer()
    assert session.response is None
    assert session.shown[1] == ()
    session.commit()
    assert not desk.commits


def test_an_error_under_the_mouse_switches_hovering_off(desk):
    desk.session.set_hovering(True)
    desk.session.hover((10.0, 20.0))
    desk.session.fail("No memory.")
    assert not desk.session.hovering
    assert desk.session.message.startswith("No memory.")


def test_outputs_have_a_document_each(desk):
    session = desk.session
    session.set_layers((LayerRef("1", "a"),), (LayerRef("labels", "x"), LayerRef("other", "y")))
    desk.keep(10.0, 20.0)
    session.choose_output("other")
    assert not session.document.objects
    session.set_prompts(points((30.0, 30.0)))
    session.choose_output("labels")
    assert set(session.document.objects) == {1}
    assert session.prompts == points((30.0, 30.0))
    session.set_layers((LayerRef("1", "a"),), (LayerRef("other", "y"),))
    assert session.output is None
    assert not session.document.objects


def test_selected_objects_are_outlined_on_their_plane(desk):
    desk.keep(10.0, 20.0)
    desk.session.select([1, 7])
    (patch,) = desk.session.outlines
    assert patch.offset == (2, 12)
    assert patch.mask.sum() == desk.session.document.objects[1].area


def test_enter_before_the_answer_commits_when_it_comes(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.session.commit()
    assert not desk.commits
    desk.answer()
    assert len(desk.commits) == 1


def test_enter_before_the_answer_is_forgotten_after_another_edit(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.session.commit()
    desk.session.set_prompts(points((10.0, 20.0), (12.0, 20.0)))
    desk.answer()
    assert not desk.commits


def test_nothing_to_commit_is_said(desk):
    desk.session.commit()
    assert "no mask" in desk.session.message


def test_an_empty_mask_is_said_and_not_committed():
    desk = Desk(FakePredictor(radius=0.0))
    desk.session.set_prompts(points((10.4, 20.4)))
    desk.answer()
    assert "no object" in desk.session.message
    desk.session.commit()
    assert not desk.commits


def test_cancel_makes_the_answer_outdated(desk):
    desk.session.set_prompts(points((10.0, 20.0)))
    desk.session.cancel()
    desk.answer()
    assert desk.session.response is None


def test_missing_weights_are_never_fetched_silently(monkeypatch):
    monkeypatch.setattr("napari_sam._workplace.find", lambda spec: None)
    session = Session(ModelChoice("vit_b"))
    requests, downloads = [], []
    record(session.requested, requests)
    record(session.download_requested, downloads)
    session.set_plane(make_plane())
    session.set_prompts(points((10.0, 20.0)))
    assert not requests
    assert not downloads
    assert "Download" in session.message
    session.request_download()
    assert [spec.name for spec in downloads] == ["vit_b"]
    monkeypatch.setattr("napari_sam._workplace.find", lambda spec: "there")
    session.downloaded()
    assert len(requests) == 1


def test_a_layer_that_is_gone_is_given_up(desk):
    session = desk.session
    session.set_layers((LayerRef("1", "a"), LayerRef("2", "b")), (LayerRef("3", "labels"),))
    session.choose_image("1")
    session.choose_output("3")
    session.set_layers((LayerRef("2", "b"),), ())
    assert session.image == "2"
    assert session.output is None


def test_another_image_drops_the_prompts(desk):
    session = desk.session
    session.set_layers((LayerRef("1", "a"), LayerRef("2", "b")), ())
    session.set_prompts(points((10.0, 20.0)))
    session.choose_image("1")
    assert not session.prompts
    assert not session.can_undo


def test_without_a_plane_the_reason_is_said(desk):
    desk.session.set_plane(None, "The view is 3D.")
    desk.session.set_prompts(points((10.0, 20.0)))
    assert desk.session.message == "The view is 3D."
    assert not desk.requests


def test_unknown_intensity_is_refused(desk):
    with pytest.raises(ValueError, match="percentile"):
        desk.session.choose_intensity("bright")


def test_contrast_limits_are_taken_when_asked(desk):
    desk.session.contrast_limits = (3.0, 9.0)
    desk.session.choose_intensity("contrast limits")
    desk.session.set_prompts(points((10.0, 20.0)))
    assert desk.requests[-1].intensity == (3.0, 9.0)
    desk.session.contrast_limits = None
    assert desk.session.intensity_value() == "percentile"


def test_two_sessions_share_nothing():
    one, two = Desk(), Desk()
    one.session.set_prompts(points((10.0, 20.0)))
    assert not two.session.prompts
    assert not two.requests


def test_a_closed_session_tells_nobody(desk):
    desk.session.close()
    desk.session.set_prompts(points((10.0, 20.0)))
    assert not desk.requests


# --- place: the rules of prompts --------------------------------------------------------------


def box(y0, x0, y1, x1):
    return BoxPrompt((y0, x0), (y1, x1))


def test_points_and_one_box_are_one_object():
    placed = place(
        PromptSet(points((3.0, 4.0), negative=[(5.0, 6.0)]).points, (box(1.0, 2.0, 9.0, 8.0),)),
        make_plane(),
    )
    assert placed.prompts.n_objects == 1
    assert placed.prompts.points.tolist() == [[[3, 4], [5, 6]]]
    assert placed.prompts.point_labels.tolist() == [[1, 0]]
    assert placed.prompts.boxes.tolist() == [[1, 2, 9, 8]]
    assert placed.note == ""


def test_several_boxes_are_several_objects_without_points():
    boxes = (box(1.0, 1.0, 9.0, 9.0), box(20.0, 20.0, 30.0, 30.0))
    placed = place(PromptSet(points((3.0, 4.0)).points, boxes), make_plane())
    assert placed.prompts.n_objects == 2
    assert placed.prompts.points is None
    assert "ignored" in placed.note


def test_only_negative_points_ask_nothing():
    placed = place(points(negative=[(3.0, 4.0)]), make_plane())
    assert placed.prompts is None
    assert "on the object" in placed.note


@pytest.mark.parametrize(
    ("point", "taken"),
    [((-0.5, 0.0), True), ((-0.6, 0.0), False), ((39.5, 49.5), True), ((39.6, 0.0), False)],
)
def test_points_outside_the_image_are_ignored_with_a_word(point, taken):
    placed = place(points(point), make_plane())
    assert (placed.prompts is not None) == taken
    assert ("outside" in placed.note) != taken


def test_boxes_are_clipped_and_clicks_are_no_boxes():
    wide = place(PromptSet(boxes=(box(-5.0, -5.0, 100.0, 100.0),)), make_plane())
    assert wide.prompts.boxes.tolist() == [[-0.5, -0.5, 39.5, 49.5]]
    thin = place(PromptSet(boxes=(box(5.0, 5.0, 5.2, 9.0),)), make_plane())
    assert thin.prompts is None


def test_prompts_of_other_planes_are_ignored_with_a_word():
    prompts = points((2.0, 3.0, 4.0), (3.0, 3.0, 4.0), (2.4, 1.0, 1.0))
    placed = place(prompts, stack_plane(2))
    assert placed.prompts.points.tolist() == [[[3, 4], [1, 1]]]
    assert "another plane" in placed.note


def test_prompts_project_to_any_plane():
    plane = Plane("xz", np.zeros((5, 40, 50)), (0, 2), (0, 7, 0))
    assert plane.size == (5, 50)
    assert plane.project((2.0, 7.0, 9.0)) == (2.0, 9.0)
    assert plane.project((2.0, 8.0, 9.0)) is None
    assert plane.lift(2.0, 9.0) == (2.0, 7.0, 9.0)
    assert plane.read().shape == (5, 50)


def test_a_plane_of_colours_keeps_them():
    plane = Plane("rgb", np.zeros((5, 40, 50, 3)), (1, 2), (3, 0, 0), rgb=True)
    assert plane.read().shape == (40, 50, 3)


# --- patches, caches ----------------------------------------------------------------------------


def test_patch_is_the_bounding_box():
    frame = Frame((20, 30), (20, 30), (20, 30), 1)
    logits = np.full((1, 2, 20, 30), -5, np.float32)
    logits[0, 0, 3:7, 10:12] = 5
    scores = np.array([[0.5, 0.25]], np.float32)
    ((patch, nothing),) = cut_objects(MaskPrediction(logits, scores, frame))
    assert (patch.offset, patch.mask.shape, patch.score) == ((3, 10), (4, 2), 0.5)
    assert nothing.mask.size == 0


def test_the_better_score_stays_on_top():
    low = MaskPatch((0, 0), np.ones((4, 4), bool), 0.3)
    high = MaskPatch((2, 2), np.ones((4, 4), bool), 0.9)
    for patches in ([low, high], [high, low]):
        offset, canvas = paint(patches, [1, 2], np.uint8)
        winner = patches.index(high) + 1
        assert offset == (0, 0)
        assert canvas.shape == (6, 6)
        assert (canvas[2:6, 2:6] == winner).all()


def test_the_embedding_cache_forgets_what_is_unused_for_longest():
    cache = EmbeddingCache(kept=2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None
    assert len(cache) == 2


def test_the_pool_loads_a_model_once(monkeypatch):
    loaded = []
    monkeypatch.setattr("napari_sam._predict._load", lambda c: loaded.append(c) or object())
    pool = PredictorPool(kept=1)
    assert pool(ModelChoice("a")) is pool(ModelChoice("a"))
    pool(ModelChoice("b"))
    pool(ModelChoice("a"))
    assert [choice.name for choice in loaded] == ["a", "b", "a"]


def test_several_boxes_have_their_best_mask_each(desk):
    desk.session.set_prompts(
        PromptSet(boxes=(box(1.0, 1.0, 9.0, 9.0), box(20.0, 20.0, 30.0, 30.0)))
    )
    response = desk.answer()
    assert isinstance(response, PredictResponse)
    assert [len(candidates) for candidates in response.objects] == [1, 1]
    assert desk.session.scores == ()
    desk.session.step_candidate()
    assert "one mask only" in desk.session.message


@pytest.mark.parametrize(
    ("prompts", "candidates"),
    [
        (points((10.0, 20.0)), 3),
        (points((10.0, 20.0), (12.0, 22.0)), 1),
        (points((10.0, 20.0), negative=[(30.0, 40.0)]), 1),
        (PromptSet(boxes=(box(1.0, 1.0, 9.0, 9.0),)), 1),
        (PromptSet(points((3.0, 4.0)).points, (box(1.0, 1.0, 9.0, 9.0),)), 1),
    ],
    ids=["click", "points", "signs", "box", "both"],
)
def test_only_a_single_click_has_candidates(desk, prompts, candidates):
    desk.session.set_prompts(prompts)
    assert len(desk.answer().objects[0]) == candidates
    assert len(desk.session.scores) == candidates


def test_a_very_large_plane_works_with_a_word(desk):
    desk.session.set_plane(Plane("large", np.zeros((5, 5000), np.uint8), (0, 1), (-1, -1)))
    desk.session.set_prompts(points((2.0, 2000.0)))
    desk.answer()
    assert desk.session.preview
    assert "5 x 5000" in desk.session.message


def test_the_size_that_was_chosen_comes_first_from_then_on(desk):
    session = desk.session
    session.set_prompts(points((10.0, 20.0)))
    desk.answer()
    assert session.candidate == 1  # the surest, and the middle one
    session.step_candidate()
    assert session.candidate == 2
    assert "largest" in session.message
    session.set_prompts(points((30.0, 30.0)))
    desk.answer()
    assert session.candidate == 2
    session.set_hovering(True)
    session.clear()
    session.hover((20.0, 20.0))
    desk.answer()
    assert session.shown[1][0].mask.shape[0] > 20
    session.set_prompts(points((30.0, 30.0)))
    desk.answer()
    session.choose_candidate(1)
    session.set_prompts(points((10.0, 10.0)))
    desk.answer()
    assert session.candidate == 1
    assert session.level is None


def test_a_fixed_range_is_what_the_model_is_asked_with(desk):
    session = desk.session
    session.contrast_limits = (3.0, 90.0)
    session.set_prompts(points((10.0, 20.0)))
    session.choose_intensity("fixed")
    assert desk.requests[-1].intensity == (3.0, 90.0)  # begins with what is displayed
    session.set_fixed_range(10.0, 20.0)
    assert desk.requests[-1].intensity == (10.0, 20.0)
    asked = len(desk.requests)
    session.set_fixed_range(20.0, 20.0)
    assert "below the highest" in session.message
    assert len(desk.requests) == asked
    session.contrast_limits = (0.0, 1.0)
    assert session.intensity_value() == (10.0, 20.0)


def test_a_scribble_and_an_outline_are_asked_undone_and_kept(desk):
    session = desk.session
    scribble = StrokePrompt(((20.0, 10.0), (20.0, 30.0)))
    session.set_prompts(PromptSet(strokes=(scribble,)))
    desk.answer()
    (patch,) = session.preview
    assert patch.mask.shape[1] > 30
    triangle = OutlinePrompt(((5.0, 5.0), (5.0, 25.0), (25.0, 5.0)))
    session.set_prompts(PromptSet(strokes=(scribble,), outlines=(triangle,)))
    assert desk.requests[-1].sketches
    desk.answer()
    session.undo()
    assert session.prompts == PromptSet(strokes=(scribble,))
    session.redo()
    desk.answer()
    session.commit()
    (record,) = session.document.objects.values()
    assert record.prompts.outlines == (triangle,)
    assert desk.labels.data[8, 8] == record.number


def test_an_object_drawn_by_hand_is_refined(desk):
    session, review = desk.session, Review(desk.session)
    desk.keep(30.0, 40.0)
    before = desk.labels.data.copy()
    desk.labels.data[5:12, 5:15] = 7
    session.stroke(difference(before, desk.labels.data))
    review.refine()
    assert "Select an object" in session.message
    session.select([7])
    review.refine()
    assert desk.requests[-1].sketches
    desk.answer()
    session.set_prompts(replace(session.prompts, points=(PointPrompt((20.0, 10.0)),)))
    desk.answer()
    session.commit()
    assert session.document.objects[7].prompts.mask is not None
    assert desk.labels.data[20, 10] == 7
    session.undo()
    session.undo()
    session.undo()
    assert not session.prompts
    assert np.count_nonzero(desk.labels.data == 7) == 70
