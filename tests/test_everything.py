"""The tool Everything without Qt and napari: states, events, and its two jobs."""

import numpy as np
import pytest

from napari_sam._everything import Everything
from napari_sam._predict import EmbeddingCache, ModelChoice, Plane
from napari_sam._session import LayerRef, Session
from napari_sam._sweep import DROPPED, LabelsToWrite, choose, name_of, sweep
from napari_sam.core.masks import MaskRecord
from napari_sam.progress import finish
from napari_sam.testing import FakePredictor

SIZE = (40, 60)


class Desk:
    """The tool with its workers at hand: requests are collected and answered when told.

    The fake model gives three discs a point (scores 0.6, 0.9, 0.3; radii 2, 4, 8): with 2 points
    a side there are 4 points at y 10, 30 and x 15, 45.
    """

    def __init__(self):
        self.session = Session(weights_needed=False)
        self.session.set_layers((LayerRef("a", "a"), LayerRef("b", "b")), ())
        self.tool = Everything(self.session)
        self.predictor = FakePredictor(radius=4)
        self.cache = EmbeddingCache()
        self.sweeps, self.choices, self.commits = [], [], []
        self.tool.sweep_requested.connect(self.sweeps.append)
        self.tool.choose_requested.connect(self.choices.append)
        self.tool.commit_requested.connect(self.commits.append)
        self.session.set_plane(Plane(("a",), np.zeros(SIZE, np.uint8), (0, 1), (-1, -1)))
        self.tool.change(points_per_side=2, pred_iou_thresh=0.7)

    def answer_sweep(self):
        load = lambda _: self.predictor  # noqa: E731
        self.tool.accept_found(finish(sweep(self.sweeps[-1], load=load, cache=self.cache)))

    def answer_choice(self, index=-1):
        self.tool.accept_selection(finish(choose(self.choices[index])))

    def run(self):
        self.tool.run()
        self.answer_sweep()
        self.answer_choice()

    @property
    def kept(self):
        return len(self.tool.selection.kept)


@pytest.fixture
def desk():
    return Desk()


def test_a_run_shows_what_passes(desk):
    desk.run()
    assert desk.tool.count == "4 of 8 candidates"  # those that score 0.3 were not kept
    assert "Click one to drop it" in desk.session.message
    preview = desk.tool.selection.preview
    assert preview.shape == SIZE
    assert preview[10, 15] != 0
    assert preview[20, 30] == 0
    assert desk.session.runtime == "no device, fake"


def test_thresholds_follow_without_the_model(desk):
    desk.run()
    asked = len(desk.predictor.prompts)
    desk.tool.change(pred_iou_thresh=0.55, box_nms_thresh=1.0)
    desk.answer_choice()
    assert desk.tool.count == "8 of 8 candidates"
    desk.tool.change(least_area=20)
    desk.answer_choice()
    assert desk.kept == 4
    desk.tool.change(most_area=20)
    desk.answer_choice()
    assert desk.kept == 0
    desk.tool.change(least_area=0, most_area=None, pred_iou_thresh=0.95)
    desk.answer_choice()
    assert desk.kept == 0
    assert len(desk.predictor.prompts) == asked


def test_what_touches_the_border_can_be_left_out(desk):
    desk.predictor.radius = 10
    desk.run()
    assert desk.kept == 4
    desk.tool.change(drop_border=True)
    desk.answer_choice()
    assert desk.kept == 0


def test_settings_of_the_grid_ask_for_another_run(desk):
    assert not desk.tool.is_outdated
    desk.run()
    desk.tool.change(box_nms_thresh=0.5, level="whole")
    assert not desk.tool.is_outdated
    desk.tool.change(points_per_side=3)
    assert desk.tool.is_outdated
    desk.run()
    assert not desk.tool.is_outdated
    desk.tool.change(pred_iou_thresh=0.2)  # candidates below 0.5 were not kept
    assert desk.tool.is_outdated
    desk.answer_choice()
    assert desk.kept > 0


def test_another_model_asks_for_another_run(desk):
    told = []
    desk.run()
    desk.tool.settings_changed.connect(lambda: told.append(desk.tool.is_outdated))
    desk.session.choose_model(ModelChoice(precision="fast"))
    assert told[-1] and desk.tool.is_outdated
    desk.run()
    assert not desk.tool.is_outdated
    desk.session.choose_model(ModelChoice())
    assert told[-1] and desk.tool.is_outdated


def test_another_intensity_asks_for_another_run(desk):
    told = []
    desk.run()
    desk.tool.settings_changed.connect(lambda: told.append(desk.tool.is_outdated))
    desk.session.choose_intensity("as_is")
    assert told[-1] and desk.tool.is_outdated


def test_a_click_drops_the_candidate_and_another_takes_it_back(desk):
    desk.run()
    before = desk.tool.selection.preview
    desk.tool.toggle(10.4, 14.6)
    desk.answer_choice()
    assert desk.tool.count == "3 of 8 candidates"
    preview = desk.tool.selection.preview
    assert preview[10, 15] == 0  # an outline only
    assert preview[6, 15] == DROPPED
    assert preview[10, 45] == before[10, 45]  # the others keep their colours
    desk.tool.toggle(10, 15)
    desk.answer_choice()
    assert desk.kept == 4
    desk.tool.toggle(20, 30)  # nobody there
    assert len(desk.choices) == 3


def test_what_was_dropped_stays_so_while_sliders_move(desk):
    desk.run()
    desk.tool.toggle(10, 15)
    for threshold in (0.95, 0.7):
        desk.tool.change(pred_iou_thresh=threshold)
        desk.answer_choice()
    assert desk.kept == 3


def test_of_two_candidates_the_upper_one_is_clicked(desk):
    desk.tool.change(pred_iou_thresh=0.55, box_nms_thresh=1.0)
    desk.run()
    desk.tool.toggle(10, 15)
    desk.answer_choice()
    (dropped,) = set(map(name_of, desk.tool.selection.records)) - set(
        map(name_of, desk.tool.selection.kept)
    )
    assert dropped[3] == pytest.approx(0.6)  # the smaller one
    desk.tool.toggle(10, 15)
    desk.tool.change(overlap="score_on_top")
    desk.answer_choice()
    assert desk.tool.selection.at(10, 15).score == pytest.approx(0.9)


def test_a_commit_waits_for_the_sliders(desk):
    desk.run()
    desk.tool.toggle(10, 15)
    desk.tool.commit()
    assert not desk.commits
    desk.answer_choice()
    (wanted,) = desk.commits
    assert [side.start for side in wanted.region] == [6, 11]
    assert sorted(set(wanted.canvas().ravel())) == [0, 1, 2, 3]
    assert not wanted.replace


def test_a_commit_does_not_wait_for_thresholds_that_failed(desk):
    desk.run()
    desk.tool.change(pred_iou_thresh=0.55, box_nms_thresh=1.0)
    desk.tool.commit()
    desk.tool.choose_failed("Something broke.")
    assert "Something broke. The candidates in view are as before" in desk.session.message
    assert not desk.commits
    desk.tool.commit()  # asks once more instead of waiting for nobody
    assert len(desk.choices) == 3
    desk.answer_choice()
    (wanted,) = desk.commits
    assert wanted.canvas().max() == 8


def test_a_failure_forgets_the_wish_to_commit(desk):
    desk.run()
    desk.tool.toggle(10, 15)
    desk.tool.commit()
    desk.tool.choose_failed("Something broke.")
    desk.tool.toggle(10, 15)
    desk.answer_choice()
    assert not desk.commits


def test_a_cancelled_choice_does_not_keep_a_commit_waiting(desk):
    desk.run()
    desk.tool.toggle(10, 15)
    desk.tool.commit()
    desk.tool.choose_cancelled()
    assert "Cancelled" in desk.session.message
    desk.tool.commit()
    desk.answer_choice()
    assert len(desk.commits) == 1


def test_without_candidates_there_is_nothing_to_commit(desk):
    desk.tool.commit()
    assert "press Run" in desk.session.message
    desk.run()
    desk.tool.change(pred_iou_thresh=0.95)
    desk.answer_choice()
    desk.tool.commit()
    assert not desk.commits


def test_older_answers_are_dropped(desk):
    desk.tool.run()
    old = desk.sweeps[-1]
    desk.tool.run()
    job = sweep(old, load=lambda _: desk.predictor, cache=desk.cache)
    desk.tool.accept_found(finish(job))
    assert desk.tool.found is None
    desk.answer_sweep()
    late = finish(choose(desk.choices[-1]))
    desk.tool.clear()
    desk.tool.accept_selection(late)
    assert desk.tool.selection is None
    assert desk.tool.count == "No candidates yet"


def test_another_image_forgets_the_candidates(desk):
    desk.run()
    desk.session.choose_image("a")
    assert desk.tool.selection is None


def test_without_a_plane_or_weights_nothing_runs(desk):
    desk.session.set_plane(None, "Open an image first.")
    desk.tool.run()
    assert desk.session.message == "Open an image first."
    desk.session._weights_needed = True
    desk.session.choose_model(ModelChoice("vit_h", weights=None))
    desk.session.set_plane(Plane(("a",), np.zeros(SIZE), (0, 1), (-1, -1)))
    desk.tool.run()
    assert "Download" in desk.session.message
    assert not desk.sweeps


def test_clicks_and_runs_share_the_embedding_of_the_plane(desk):
    desk.run()
    desk.tool.change(crop_n_layers=1)
    desk.run()
    assert len(desk.predictor.images) == 1 + 4
    request = desk.sweeps[-1]
    assert desk.cache.get((request.plane.key, request.model, request.intensity)) is not None


def test_the_prompts_of_the_other_tools_stay(desk):
    from napari_sam._place import PointPrompt, PromptSet

    prompts = PromptSet((PointPrompt((5.0, 5.0)),))
    desk.session.set_prompts(prompts)
    desk.run()
    desk.tool.toggle(10, 15)
    desk.tool.clear()
    assert desk.session.prompts == prompts


def test_a_large_plane_has_a_coarser_preview(monkeypatch, desk):
    monkeypatch.setattr("napari_sam._sweep.MOST_PREVIEW_SIDE", 25)
    desk.run()
    fine = np.zeros(SIZE, bool)
    for record in desk.tool.selection.records:
        fine[record.region] |= record.patch
    assert desk.tool.selection.step == 3
    assert ((desk.tool.selection.preview != 0) == fine[::3, ::3]).all()


def test_labels_to_write_lie_as_they_are_seen(desk):
    desk.tool.change(pred_iou_thresh=0.55, box_nms_thresh=1.0, overlap="score_on_top")
    desk.run()
    wanted = LabelsToWrite.of(desk.tool.selection)
    assert len(np.unique(wanted.canvas())) == 1 + 4  # the lesser discs lie below the others
    assert isinstance(desk.tool.selection.records[0], MaskRecord)
    below = wanted.beneath(wanted.canvas())
    whole = np.zeros(SIZE, int)
    for record in wanted.records:
        whole[record.region] += record.patch
    assert sum(mask.sum() for mask in below.values()) == (whole - (whole > 0)).sum() > 0


def test_objects_are_told_to_be_of_the_model_that_found_them(desk):
    desk.run()
    desk.session.choose_model(ModelChoice("vit_b"))
    desk.session.choose_intensity("as_is")
    desk.tool.commit()
    origin = desk.commits[-1].origin
    assert (origin.model, origin.intensity) == ("tiny", "percentile")


def test_defaults_come_back(desk):
    desk.tool.reset()
    assert desk.tool.settings == desk.tool.defaults
