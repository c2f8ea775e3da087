"""Key planes, settings, shapes and claims by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam import KeyPlane, Prompts, PropagateParams
from napari_sam.core.frame import Frame
from napari_sam.errors import PromptError
from napari_sam.volume.embedder import Embedder
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation.claim import Claim
from napari_sam.volume.propagation.contrast import Level, contrasts, usual_levels
from napari_sam.volume.propagation.correction import anchored, corrected
from napari_sam.volume.propagation.evidence import Grey, weighed
from napari_sam.volume.propagation.expected import expected_on
from napari_sam.volume.propagation.key_plane import key_planes_of
from napari_sam.volume.propagation.keys import Keys
from napari_sam.volume.propagation.shapes import Shape, blend, extrapolate, overlap_of, shrunk
from napari_sam.volume.propagation.stack import Look, Stack
from tests.volume.fakes import Greys

ONE = Prompts(boxes=[[1, 1, 4, 4]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "says nothing"),
        ({"labels": np.zeros((4, 4), int)}, "says nothing"),
        ({"labels": np.ones((4, 4, 4), int)}, "rows, columns"),
        ({"labels": np.ones((4, 4))}, "dtype float64"),
        ({"labels": -np.ones((4, 4), int)}, "label -1"),
        ({"prompts": {0: ONE}}, "id 0"),
        ({"prompts": {1: Prompts(boxes=[[1, 1, 4, 4]] * 2)}}, "of 2 objects"),
        ({"prompts": {1: ONE}, "absent": [1]}, "absent"),
    ],
)
def test_a_key_plane_that_says_nothing_sensible_is_refused(given: dict, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        KeyPlane(3, **given)


def test_seeds_become_key_planes() -> None:
    seeds = np.zeros((5, 4, 4), np.uint16)
    seeds[1, 0, 0], seeds[3, 2:] = 7, 9
    keys = key_planes_of(seeds)
    assert [(key.plane, key.ids) for key in keys] == [(1, (7,)), (3, (9,))]
    with pytest.raises(PromptError, match="empty"):
        key_planes_of(np.zeros((5, 4, 4), int))
    with pytest.raises(PromptError, match="planes, rows, columns"):
        key_planes_of(np.ones((4, 4), int))


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "guess"},
        {"least_score": 1.5},
        {"least_overlap": -0.1},
        {"most_area_change": 0.5},
        {"first_plane": -1},
        {"first_plane": 5, "last_plane": 4},
        {"spacing": (1.0, 0.0, 1.0)},
        {"nonsense": 1},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict) -> None:
    with pytest.raises(PromptError, match=next(iter(changes))):
        PropagateParams().changed(**changes)


def disc(centre: tuple[int, int], radius: float, size: tuple[int, int] = (60, 80)) -> Shape:
    rows, columns = np.indices(size)
    return Shape.of((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2)


@given(st.integers(3, 10), st.integers(3, 10), st.floats(0, 1), st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_a_blend_lies_between_and_ends_at_both(r0: int, r1: int, share: float, apart: int) -> None:
    low, high = disc((20, 15), r0), disc((20, 15 + apart), r1)
    mixed = blend(low, high, share, (1.0, 1.0))
    assert min(low.area, high.area) * 0.8 <= mixed.area <= max(low.area, high.area) * 1.2
    assert abs(mixed.centre()[1] - (15 + share * apart)) <= 1
    assert overlap_of(blend(low, high, 0.0, (1.0, 1.0)), low) == 1
    assert overlap_of(blend(low, high, 1.0, (1.0, 1.0)), high) == 1


def test_a_blend_at_the_edge_of_a_plane_does_not_leave_it() -> None:
    mixed = blend(box_shape(0, 0, 7, 3), box_shape(0, 2, 3, 4), 0.28, (1.0, 1.0))
    assert mixed.area and mixed.region[0].start >= 0 and mixed.region[1].start >= 0


def test_motion_and_growth_go_on() -> None:
    after = extrapolate(disc((20, 20), 6), disc((20, 26), 8), (1.0, 1.0), (60, 80))
    assert overlap_of(after, disc((20, 32), 10)) > 0.8
    at_rest = extrapolate(disc((20, 20), 6), disc((20, 20), 6), (1.0, 1.0), (60, 80))
    assert overlap_of(at_rest, disc((20, 20), 6)) == 1
    vanishing = extrapolate(disc((20, 20), 9), disc((20, 20), 3), (1.0, 1.0), (60, 80))
    assert vanishing.area > 0
    leaving = extrapolate(disc((20, 20), 5), disc((20, 5), 5), (1.0, 1.0), (60, 80))
    assert leaving.area > 0 and leaving.region[1].start >= 0


def test_deepest_points_mind_the_spacing() -> None:
    mask = np.zeros((12, 40), bool)
    mask[1:11, 1:11] = True  # a square of pixels
    mask[4:8, 11:39] = True  # and a long arm
    square = Shape.of(mask).deepest(1, (1.0, 1.0))[0]
    assert square[1] < 11
    points = Shape.of(mask).deepest(3, (1.0, 1.0))
    assert len(points) == 3 and len({tuple(p) for p in points}) == 3
    assert all(mask[int(y), int(x)] for y, x in points)
    # Rows far apart: then the square is flat across, and its columns decide.
    wide = Shape.of(mask).deepest(1, (10.0, 1.0))[0]
    assert mask[int(wide[0]), int(wide[1])] and wide[1] > 5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_claim_keeps_the_mask_of_the_logits(seed: int) -> None:
    draw = np.random.default_rng(seed)
    frame = Frame((40, 50), (80, 100), (80, 112), 4)
    low_res = np.full(frame.low_res, -8, np.float32)
    y, x = draw.integers(2, 12, 2)
    low_res[y : y + 5, x : x + 6] = draw.uniform(0.5, 9)
    look = Look((slice(10, 50), slice(20, 70)))
    mask, region = Claim.keep(look, frame, low_res, 0.7).mask()
    from napari_sam.core.upscale import restore_mask

    expected, where = restore_mask(frame, low_res)
    first = [part.start for part in where]
    assert [part.start for part in region] == [first[0] + 10, first[1] + 20]
    both = min(mask.shape[0], expected.shape[0]), min(mask.shape[1], expected.shape[1])
    differ = mask[: both[0], : both[1]] != expected[: both[0], : both[1]]
    assert differ.mean() < 0.1


def clicks(*points: tuple[int, int, int]) -> Prompts:
    return Prompts(points=[[p[:2] for p in points]], point_labels=[[p[2] for p in points]])


def box_shape(y0: int, x0: int, y1: int, x1: int) -> Shape:
    return Shape(np.ones((y1 - y0, x1 - x0), bool), (slice(y0, y1), slice(x0, x1)))


def test_a_click_changes_only_the_piece_that_it_lies_on() -> None:
    before, answer = box_shape(10, 10, 20, 20), box_shape(10, 14, 20, 26)
    added = corrected(before, answer, clicks((15, 23, 1)))
    assert added.region == (slice(10, 20), slice(10, 26)) and added.mask.all()
    cut = corrected(before, answer, clicks((15, 11, 0)))
    assert cut.region == (slice(10, 20), slice(14, 20)) and cut.mask.all()
    both = corrected(before, answer, clicks((15, 23, 1), (15, 11, 0)))
    assert both.region == answer.region
    for nothing in (clicks((15, 15, 1)), clicks((40, 40, 0))):
        assert corrected(before, answer, nothing).region == before.region


@pytest.mark.parametrize(
    "answer",
    [box_shape(10, 10, 20, 20), box_shape(0, 0, 60, 60), Shape.of(np.zeros((40, 40), bool))],
    ids=["says nothing there", "another object", "nothing"],
)
def test_no_click_is_in_vain_and_none_makes_another_object(answer: Shape) -> None:
    before = box_shape(10, 10, 20, 20)
    more = corrected(before, answer, clicks((15, 23, 1)))
    assert more.within((slice(15, 16), slice(23, 24))).all()
    assert before.area < more.area < 1.6 * before.area  # four pixels around the click
    less = corrected(before, answer, clicks((15, 12, 0)))
    assert not less.within((slice(15, 16), slice(12, 13))).any()
    assert 0.6 * before.area < less.area < before.area
    far = corrected(before, answer, clicks((15, 58, 1)))
    assert far.area < 2.5 * before.area and far.region[1].stop >= 59


def test_a_correction_that_would_leave_nothing_is_none() -> None:
    before, nothing = box_shape(10, 10, 20, 20), Shape.of(np.zeros((40, 40), bool))
    dot = box_shape(10, 10, 11, 11)
    assert corrected(dot, nothing, clicks((10, 10, 0))).area == 1
    assert corrected(before, nothing, ONE).area == before.area
    assert corrected(before, box_shape(1, 1, 4, 4), ONE).region == (slice(1, 4), slice(1, 4))


def test_clicks_that_only_take_away_get_one_on_what_stays() -> None:
    shape = box_shape(10, 10, 20, 40)
    more = anchored(clicks((15, 12, 0)), shape)
    assert more.point_labels[0].tolist() == [0, 1]
    assert more.points[0, 1, 1] > 15
    for enough in (clicks((15, 12, 1)), clicks((15, 12, 0), (15, 30, 1)), ONE):
        assert anchored(enough, shape) is enough
    assert anchored(clicks((15, 12, 0)), None).points.shape == (1, 1, 2)


def test_contrast_is_judged_only_where_it_tells() -> None:
    image = np.full((1, 40, 60), 50, np.uint8)
    image[0, 10:20, 10:20] = 90
    image[0, 10:20, 40:50] = 52
    job = VolumeJob(ImageRef.open(image), VolumeIntensity(None), Greys(), 200, 0)
    stack = Stack(Embedder(job))
    shapes = {1: box_shape(10, 10, 20, 20), 2: box_shape(10, 40, 20, 50)}
    assert contrasts(stack, 0, shapes) == {1: 40.0, 2: 2.0}
    assert usual_levels(stack, Keys({0: shapes}, {}, {}, 0, 0)) == {
        1: Level(40.0, 70.0),
        2: Level(),
    }
    assert contrasts(stack, 0, {3: Shape.of(np.zeros((40, 60), bool))}) == {}


def test_a_key_plane_at_the_end_of_an_object_does_not_tell_how_it_stands_out() -> None:
    image = np.full((2, 40, 60), 50, np.uint8)
    image[0, 10:20, 10:20], image[1, 10:20, 10:20] = 52, 20  # hardly there, and well
    job = VolumeJob(ImageRef.open(image), VolumeIntensity(None), Greys(), 200, 0)
    shapes = {7: box_shape(10, 10, 20, 20)}
    found = usual_levels(Stack(Embedder(job)), Keys({0: shapes, 1: shapes}, {}, {}, 0, 1))
    assert found == {7: Level(-30.0, 35.0)}


def test_one_more_key_plane_that_stands_out_as_much_changes_nothing() -> None:
    image = np.full((2, 40, 60), 50, np.uint8)
    image[0, 10:20, 10:20], image[1, 12:18, 12:18] = 90, 95
    job = VolumeJob(ImageRef.open(image), VolumeIntensity(None), Greys(), 200, 0)
    stack, first, more = Stack(Embedder(job)), box_shape(10, 10, 20, 20), box_shape(12, 12, 18, 18)
    one = usual_levels(stack, Keys({0: {7: first}}, {}, {}, 0, 1))
    assert usual_levels(stack, Keys({0: {7: first}, 1: {7: more}}, {}, {}, 0, 1)) == one


# --- what a claim is weighed against -------------------------------------------------------------

FLAT = (1.0, 1.0, 1.0)


def claim_of(mask: np.ndarray, logit: float = 2.0) -> Claim:
    """Of a model whose cells are the pixels."""
    frame = Frame.fit(mask.shape, least=64, most=64, multiple=1, mask_stride=1)
    look = Look((slice(0, mask.shape[0]), slice(0, mask.shape[1])))
    return Claim.keep(look, frame, np.where(mask, logit, -logit).astype(np.float32), 0.9)


def pixels(claim: Claim) -> np.ndarray:
    return Shape(*claim.mask()).within((slice(0, 64), slice(0, 64)))


@pytest.mark.parametrize(
    ("stiffness", "spacing", "far"), [(1.0, 1.0, 2), (0.5, 1.0, 4), (1.0, 3.0, 6)]
)
def test_an_outline_moves_as_far_as_the_model_is_sure_and_planes_are_apart(
    stiffness: float, spacing: float, far: int
) -> None:
    expected, answer = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    expected[20:40, 20:40], answer[20:40, 20:60] = True, True  # with its neighbour
    found = pixels(weighed(claim_of(answer), Shape.of(expected), (spacing, 1, 1), stiffness))
    assert found[30, 39 + far - 1] and not found[30, 39 + far + 1 :].any()
    assert (found[:, :40] == expected[:, :40]).mean() > 0.99
    assert (pixels(weighed(claim_of(answer), Shape.of(expected), FLAT, 0.0)) == answer).all()


def test_nothing_is_expected_where_the_model_sees_nothing() -> None:
    nothing = claim_of(np.zeros((64, 64), bool))
    assert weighed(nothing, box_shape(20, 20, 40, 40), FLAT, 5.0).empty


def test_grey_levels_shrink_an_object_that_stands_out() -> None:
    answer, picture = np.zeros((64, 64), bool), np.full((64, 64), 50, np.float32)
    answer[20:40, 20:40], picture[25:35, 25:35] = True, 150
    grey = Grey(picture, 100.0, 100.0)
    found = pixels(weighed(claim_of(answer, 1.0), Shape.of(answer), FLAT, 0.0, grey, 2.0))
    assert (found == (picture > 100)).all()
    dark = Grey(200 - picture, 100.0, -100.0)
    turned = pixels(weighed(claim_of(answer, 1.0), Shape.of(answer), FLAT, 0.0, dark, 2.0))
    assert (turned == found).all()


def test_between_key_planes_shapes_go_over_and_towards_an_absent_one_they_taper() -> None:
    small, large, last = box_shape(20, 20, 30, 30), box_shape(10, 10, 40, 40), box_shape(0, 0, 5, 5)
    keys = Keys({2: {1: large}, 6: {1: small}}, {10: frozenset({1})}, {}, 0, 12)
    areas = [expected_on(keys, plane, 1, last, FLAT).area for plane in (3, 4, 5, 7, 8, 9)]
    assert areas == sorted(areas, reverse=True) and areas[0] < 900 and areas[2] > 100
    assert 100 > areas[4] > 0.5 * 100 and areas[5] > 0  # rounded, not pointed
    assert expected_on(keys, 12, 1, last, FLAT) is last
    assert expected_on(keys, 1, 1, last, FLAT) is last


def test_a_shape_shrinks_by_a_share_of_its_depth() -> None:
    assert shrunk(box_shape(10, 10, 30, 30), 0.5, (1, 1)).area == 100
    assert shrunk(box_shape(10, 10, 30, 30), 0.0, (1, 1)).area == 400
