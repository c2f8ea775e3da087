"""Objects through stacks with models whose answers are known: what must come out, by plane."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam import KeyPlane, Prompts, PropagateParams, propagate_objects
from napari_sam.errors import ImageError, PromptError
from napari_sam.testing import FakePredictor
from napari_sam.volume.embedder import Embedder
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob
from napari_sam.volume.propagation.memory import FolderMemory, Memory
from napari_sam.volume.propagation.result import Event
from tests.volume.fakes import Greys, cells
from tests.volume.propagation.runs import BOX, noise, plane, run

POINTS = PropagateParams(
    mode="points",
    least_overlap=0.01,
    most_area_change=50,
    least_contrast=0.0,
    stiffness=0.0,
    grey_weight=0.0,
)


@pytest.mark.parametrize("along", ["z", "y", "x"])
@pytest.mark.parametrize("mode", ["box", "mask_box"])
def test_a_cylinder_in_any_orientation_is_found_in_all_planes(along: str, mode: str) -> None:
    axis = "zyx".index(along)
    truth = np.zeros((7, 9, 11), bool)
    inside = [slice(2, 5)] * 3
    inside[axis] = slice(None)
    truth[tuple(inside)] = True
    turned = np.swapaxes(truth, 0, axis)  # as it is propagated
    key = KeyPlane(3, turned[3] * 4)
    found = run(noise(7, 9, 11), [key], params=BOX.changed(mode=mode), along=along,
                shape=turned.shape)  # fmt: skip
    assert (found.labels == turned * 4).all()
    assert found.summary.planes == len(turned)
    assert sorted(r.plane for r in found.results) == list(range(len(turned)))


def test_all_objects_of_a_stack_are_found_from_a_plane_of_each_to_their_ends() -> None:
    image, truth = cells((12, 60, 90), count=8)
    keys = {}
    for one in np.unique(truth[truth > 0]):
        areas = np.count_nonzero(truth == one, axis=(1, 2))
        keys.setdefault(int(areas.argmax()), []).append(one)
    planes = [KeyPlane(p, np.where(np.isin(truth[p], ids), truth[p], 0)) for p, ids in keys.items()]
    found = run(image, planes, Greys(), POINTS, intensity="as_is")
    assert (found.labels == truth).all()
    assert set(found.summary.stops) == set(np.unique(truth[truth > 0])) - edge_to_edge(truth)


def edge_to_edge(truth: np.ndarray) -> set[int]:
    return set(truth[0].ravel()) & set(truth[-1].ravel())


@given(st.permutations([3, 9, 5]), st.booleans())
@settings(max_examples=4, deadline=None)
def test_neither_order_nor_names_of_objects_matter(ids: list[int], split: bool) -> None:
    a, b, c = ids
    shape, image = (20, 24), noise(5, 20, 24)
    boxes = {f"o{a}": (2, 2, 8, 8), f"o{b}": (10, 3, 15, 9), f"o{c}": (4, 14, 9, 20)}
    keys = [KeyPlane(2, plane(shape, **{n: box})) for n, box in boxes.items()]
    found = run(image, keys if split else [KeyPlane(2, plane(shape, **boxes))])
    expected = plane(shape, **boxes)
    assert (found.labels == expected).all()


@given(st.data())
@settings(max_examples=4, deadline=None)
def test_a_new_key_plane_changes_what_a_run_from_the_beginning_would_change(data) -> None:
    image, shape = noise(9, 20, 24), (20, 24)
    at = data.draw(st.lists(st.integers(0, 8), min_size=2, max_size=4, unique=True))
    keys = [
        KeyPlane(p, plane(shape, o1=(2 + p % 3, 2, 9, 8), o2=(3, 8 + p % 2, 9, 14))) for p in at
    ]
    memory, model = Memory(), FakePredictor()
    run(image, keys[:-1], model, memory=memory)
    asked = len(model.prompts)
    again = run(image, keys, model, memory=memory)
    anew = run(image, keys)
    assert (again.labels == anew.labels).all()
    assert again.summary.scores == anew.summary.scores
    assert again.summary.asked <= anew.summary.asked
    assert again.summary.asked + again.summary.remembered == anew.summary.asked
    assert len(model.prompts) - asked <= again.summary.asked


def test_only_planes_between_neighbouring_key_planes_are_asked_again() -> None:
    shape, memory = (20, 24), Memory()
    keys = [KeyPlane(p, plane(shape, o1=(2, 2, 9, 9))) for p in (0, 10, 20)]
    image = noise(21, 20, 24)
    first = run(image, keys, memory=memory)
    assert first.summary.asked == 2 * 18
    moved = KeyPlane(5, plane(shape, o1=(3, 3, 9, 9)))
    second = run(image, [*keys, moved], memory=memory)
    # Forward from 5 to 9, backward from 4 to 1; what comes to 5 from either side is as before.
    assert second.summary.asked == 4 + 4
    assert (second.labels[11:] == first.labels[11:]).all()


def test_between_two_key_planes_both_passes_are_merged_by_distance() -> None:
    shape = (20, 30)
    keys = [
        KeyPlane(0, plane(shape, o1=(4, 4, 10, 12))),
        KeyPlane(8, plane(shape, o1=(4, 4, 10, 20))),
    ]
    found = run(noise(9, *shape), keys)
    areas = np.count_nonzero(found.labels, axis=(1, 2))
    assert areas[0] == 6 * 8 and areas[8] == 6 * 16
    assert (areas[1:4] == 6 * 8).all() and (areas[5:8] == 6 * 16).all()
    assert {origin for p in range(1, 8) for origin in found.origins[p].values()} == {"merged"}


def test_an_object_that_the_model_loses_between_key_planes_is_interpolated_and_marked() -> None:
    shape = (30, 40)
    keys = [KeyPlane(p, plane(shape, o6=(5, 5 + p, 15, 15 + p))) for p in (0, 6)]
    lost = BOX.changed(least_score=1.0)  # the fake one is never so sure
    found = run(noise(7, *shape), keys, params=lost)
    assert all(found.origins[p] == {6: "interpolated"} for p in range(1, 6))
    assert (found.labels[3] == plane(shape, o6=(5, 8, 15, 18))).all()
    assert not found.summary.stops
    left_out = run(noise(7, *shape), keys, params=lost.changed(interpolate=False))
    assert not left_out.labels[1:6].any()


def test_an_object_ends_where_it_is_said_to_be_absent() -> None:
    shape = (20, 24)
    keys = [KeyPlane(4, plane(shape, o1=(2, 2, 9, 9))), KeyPlane(7, absent=[1])]
    found = run(noise(10, *shape), keys)
    assert np.flatnonzero(found.labels.any((1, 2))).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert [(p, s.reason) for p, s in found.summary.stops[1]] == [(7, "absent")]


def test_bounds_are_kept() -> None:
    params = BOX.changed(first_plane=2, last_plane=6)
    found = run(noise(10, 20, 24), [KeyPlane(4, plane((20, 24), o1=(2, 2, 9, 9)))], params=params)
    assert np.flatnonzero(found.labels.any((1, 2))).tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (POINTS.changed(least_score=0.99), "score"),
        (POINTS.changed(most_area_change=1.0), "area"),
        (POINTS.changed(least_overlap=1.0), "overlap"),
        (POINTS, "empty"),
        (POINTS.changed(least_contrast=0.9), "contrast"),
    ],
)
def test_each_rule_stops_an_object_and_says_so(params: PropagateParams, reason: str) -> None:
    image = np.zeros((5, 30, 30), np.uint8)
    for z, radius in enumerate((9, 7, 5, 3, 0)):
        if radius:
            grey = 200 if reason != "contrast" or not z else 120
            image[z, 15 - radius : 15 + radius, 15 - radius : 15 + radius] = grey
    seed = (image[0] > 0).astype(int)
    found = run(image, [KeyPlane(0, seed)], Greys(), params, intensity="as_is")
    ((at, stop),) = found.summary.stops[1]
    assert stop.reason == reason
    assert at == (4 if reason == "empty" else 1)
    assert not found.labels[at:].any()


def test_coarse_planes_are_allowed_more_change() -> None:
    image = np.zeros((2, 30, 30), np.uint8)
    image[0, 5:25, 5:25] = image[1, 9:21, 9:21] = 200
    key = KeyPlane(0, (image[0] > 0).astype(int))
    params = POINTS.changed(most_area_change=2.0)
    fine = run(image, [key], Greys(), params, intensity="as_is")
    coarse = run(image, [key], Greys(), params.changed(spacing=(4.0, 1.0, 1.0)), intensity="as_is")
    assert not fine.labels[1].any() and coarse.labels[1].any()


def test_objects_compete_and_never_share_a_pixel() -> None:
    shape = (20, 40)
    close = plane(shape, o1=(4, 4, 14, 14), o2=(4, 14, 14, 24))
    model = FakePredictor(radius=8)  # claims more than there is
    params = POINTS.changed(most_area_change=9, least_overlap=0.0)
    found = run(noise(2, *shape), [KeyPlane(0, close)], model, params)
    (result,) = [r for r in found.results if r.plane == 1]
    drawn = np.zeros(shape, int)
    for mask, region in result.masks:
        drawn[region] += mask
    assert drawn.max() == 1
    assert result.ids == (1, 2)


def test_two_claims_to_one_place_are_reported_and_one_object_ends() -> None:
    image = np.zeros((3, 20, 40), np.uint8)
    image[0, 4:14, 4:14], image[0, 4:14, 20:30] = 100, 200
    image[1:, 4:14, 4:30] = 150
    key = KeyPlane(0, plane((20, 40), o1=(4, 4, 14, 14), o2=(4, 20, 14, 30)))
    found = run(image, [key], Greys(), POINTS, intensity="as_is")
    assert Event("merge", 1, (1, 2)) in found.summary.events
    assert len(found.summary.stops) == 1


def test_an_object_in_two_pieces_is_reported() -> None:
    class Two(FakePredictor):
        def mask(self, prompts, index, size, factor=1.0):
            mask = np.zeros(size, bool)
            mask[4:10, 4:9] = mask[4:10, 12:17] = True
            return mask

    key = KeyPlane(0, plane((20, 24), o3=(4, 4, 10, 17)))
    found = run(noise(2, 20, 24), [key], Two())
    assert found.summary.events == (Event("split", 1, (3,)),)


def test_prompts_of_several_kinds_begin_objects() -> None:
    model = FakePredictor(radius=4)
    click = Prompts(points=[[[10, 10]]], point_labels=[[1]])
    box = Prompts(boxes=[[3, 20, 9, 26]])
    found = run(noise(4, 20, 30), [KeyPlane(1, prompts={4: click, 2: box})], model)
    assert set(np.unique(found.labels)) == {0, 2, 4}
    assert found.labels[1, 10, 10] == 4 and found.labels[1, 5, 22] == 2
    assert found.summary.scores[4][1][1] == pytest.approx(0.9)


def test_a_click_on_a_labelled_object_corrects_it() -> None:
    drawn = plane((20, 30), o1=(4, 4, 10, 10))
    click = Prompts(points=[[[7, 20]]], point_labels=[[1]])
    found = run(noise(1, 20, 30), [KeyPlane(0, drawn, {1: click})], FakePredictor(radius=3))
    assert found.labels[0, 7, 20] == 1 and found.labels[0, 6, 6] == 1


def test_many_objects_cost_one_embedding_and_one_batch_a_plane() -> None:
    boxes = {f"o{1 + i}": (2 + 8 * (i // 5), 2 + 8 * (i % 5), 7 + 8 * (i // 5), 7 + 8 * (i % 5))
             for i in range(20)}  # fmt: skip
    model = FakePredictor()
    run(noise(6, 36, 44), [KeyPlane(0, plane((36, 44), **boxes))], model)
    assert len(model.images) == 5
    assert [p.n_objects for p in model.prompts] == [20] * 5


def test_closing_keeps_what_was_handed_out_and_another_run_asks_only_for_the_rest() -> None:
    shape, memory = (20, 24), Memory()
    image, key = noise(9, *shape), KeyPlane(4, plane(shape, o1=(2, 2, 9, 9)))
    job = propagate_objects(image, [key], FakePredictor(), BOX, memory=memory)
    handed = []
    for step in job:
        handed += [result.plane for result in step.results]
        if len(handed) == 3:
            break
    job.close()
    assert handed == [4, 5, 6]
    rest = run(image, [key], memory=memory)
    assert rest.summary.remembered == 2 and rest.summary.asked == 6


def test_a_folder_remembers_what_memory_does_and_damage_is_asked_again(tmp_path) -> None:
    shape = (20, 24)
    image = noise(9, *shape)
    keys = [KeyPlane(p, plane(shape, o1=(2, 2, 9, 9), o2=(11, 3, 15, 20))) for p in (2, 7)]
    first = run(image, keys, memory=FolderMemory(tmp_path))
    files = sorted(tmp_path.iterdir())
    files[0].write_bytes(files[0].read_bytes()[:40])
    second = run(image, keys, memory=FolderMemory(tmp_path))
    assert second.summary.asked == 2
    assert (first.labels == second.labels).all() and first.summary.scores == second.summary.scores


def test_progress_never_goes_back_or_over() -> None:
    keys = [KeyPlane(p, plane((20, 24), o1=(2, 2, 9, 9))) for p in (2, 6)]
    steps = run(noise(9, 20, 24), keys).steps
    counted = [s for s in steps if s.total]
    assert [s.done for s in counted] == sorted(s.done for s in counted)
    assert all(s.done <= s.total for s in counted)


def test_through_time_at_one_depth() -> None:
    image = ImageRef.open(noise(5, 3, 20, 24), axes="tzyx")
    key = KeyPlane(2, plane((20, 24), o1=(2, 2, 9, 9)))
    found = run(image, [key], along="t", at=1, shape=(5, 20, 24))
    assert (found.labels[:, 3, 3] == 1).all()


SHAPE = (20, 24)
SEED = plane(SHAPE, o1=(2, 2, 9, 9))


@pytest.mark.parametrize(
    ("keys", "kwargs", "error", "words"),
    [
        ([], {}, PromptError, "no key plane has an object"),
        ([KeyPlane(9, SEED)], {}, PromptError, "outside planes 0 to 4"),
        ([KeyPlane(1, SEED[1:])], {}, PromptError, "planes have"),
        ([KeyPlane(1, SEED), KeyPlane(1, SEED)], {}, PromptError, "two key planes"),
        ([KeyPlane(1, SEED)], {"along": "t"}, ImageError, "no axis t"),
        ([KeyPlane(1, SEED)], {"at": 3}, ImageError, "0 to 0"),
        ([KeyPlane(1, SEED)], {"params": BOX.changed(last_plane=7)}, PromptError, "0 to 4"),
    ],
)
def test_what_cannot_work_is_refused_in_words(keys, kwargs, error, words) -> None:
    with pytest.raises(error, match=words):
        run(noise(5, *SHAPE), keys, **kwargs)


def test_an_object_that_a_tile_would_cut_is_seen_whole_through_the_stack() -> None:
    image = np.zeros((5, 96, 140), np.uint8)
    image[:, 40:56, 52:80] = 150
    image[2:, 40:56, 52:100] = 150  # grows beyond the tile that it began in
    job = VolumeJob(ImageRef.open(image), VolumeIntensity(None), Greys(), 48, 12)
    key = KeyPlane(0, (image[0] > 0).astype(int))
    found = run(image, [key], params=POINTS, embeddings=Embedder(job))
    assert ((found.labels > 0) == (image > 0)).all()
